"""Kernels and file systems that know less than this one: calls that fail as they would there."""

from __future__ import annotations

import ctypes
import errno
import platform
from typing import Final

_RENAMEAT2: Final = {"x86_64": 316, "aarch64": 276}
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_FILTER, _FILTER_MODE = 38, 22, 2


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def without_exchange() -> None:
    """From now on, and for ever, this process lives on a file system that cannot exchange two
    names: renameat2 answers EINVAL, as rename(2) says of such ones."""
    number = _RENAMEAT2[platform.machine()]
    instructions = (_Instruction * 4)(
        _Instruction(_LOAD_NUMBER, 0, 0, 0),
        _Instruction(_JUMP_IF_EQUAL, 0, 1, number),
        _Instruction(_RETURN, 0, 0, _FAIL | errno.EINVAL),
        _Instruction(_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(instructions), instructions)
    library = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_FILTER, _FILTER_MODE, ctypes.byref(program), 0, 0),
    ):
        if library.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "the filter was refused")
