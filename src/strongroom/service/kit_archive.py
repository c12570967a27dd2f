"""What a recovery kit holds, and its shape under the seal: a `tar.gz` that people can read.

`kit.json` says what the other files are. Names in it come from whoever sealed it: nothing is
written where they lead out of a folder. No secret appears in a text of these objects (I6).
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Final

from strongroom.config.value import is_reference
from strongroom.errors import IntegrityError
from strongroom.service.rendering import time_json

__all__ = ["CONFIG", "README", "RUNBOOK", "Kit", "KitRepository", "pack", "unpack"]

FORMAT: Final = "strongroom-kit"
VERSION: Final = 1
INDEX: Final = "kit.json"
README: Final = "README.txt"
RUNBOOK: Final = "runbook.md"
CONFIG: Final = "strongroom.yaml"
_SIZE_LIMIT_BYTES: Final = 64 << 20
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class KitRepository:
    """A repository as a kit knows it: where, which, and what opens it. `password` is the reference
    of its password, None when a master key opens it in the configuration, too."""

    name: str
    location: str
    id: str
    master_key: str = field(repr=False)
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Kit:
    """All of a kit. `secrets` are by reference, `files` those that stores ask for, by path; `home`
    is what `~` meant when it was made, `config_file` where the configuration was."""

    id: str
    application: str
    made_at: datetime
    program: str
    host: str
    home: str
    config_file: str
    config_text: str
    repositories: tuple[KitRepository, ...]
    secrets: Mapping[str, bytes] = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    readme: str = field(default="", repr=False)
    credentials: bool = False
    runbook: str = field(default="", repr=False)

    def members(self) -> Iterator[tuple[str, bytes, str]]:
        """Every file: its name, its content, and what it is."""
        yield README, self.readme.encode(), "how to recover"
        if self.runbook:
            yield RUNBOOK, self.runbook.encode(), "the runbook, as it was then"
        yield CONFIG, self.config_text.encode(), f"the configuration, {self.config_file}"
        for one in self.repositories:
            content = f"{one.master_key}\n".encode()
            yield f"master-keys/{one.name}", content, f"opens repository {one.name}"
        for name, (reference, content) in _named(self.secrets).items():
            yield f"secrets/{name}", content, reference
        for name, (path, content) in _named(self.files).items():
            yield f"access/{name}", content, path

    def secret_file(self, reference: str) -> str | None:
        """The name of the file that holds a secret; None when none does."""
        known = {of: name for name, (of, _) in _named(self.secrets).items()}
        return f"secrets/{known[reference]}" if reference in known else None


def _named(contents: Mapping[str, bytes]) -> dict[str, tuple[str, bytes]]:
    """A file name for each reference or path: what people know it by, and unlike all others."""
    found: dict[str, tuple[str, bytes]] = {}
    for number, (reference, content) in enumerate(contents.items(), start=1):
        last = _last_word(reference)
        name = last if last not in found else f"{number}-{last}"
        found[name] = reference, content
    return found


def _last_word(reference: str) -> str:
    scheme, _, rest = reference.partition(":")
    if not is_reference(reference):
        rest = reference
    elif scheme == "command":  # its arguments may tell too much
        rest = f"{rest.split()[0]}.output"
    name = _ODD.sub("_", PurePosixPath(rest).name).lstrip(".") if rest else ""
    # Without its dot, .env would be hidden where somebody looks for it.
    return name or "secret"


def pack(kit: Kit) -> bytes:
    """The archive: the same bytes for the same kit."""
    index = {
        "format": FORMAT,
        "version": VERSION,
        "kit": kit.id,
        "application": kit.application,
        "made_at": time_json(kit.made_at),
        "program": kit.program,
        "host": kit.host,
        "home": kit.home,
        "config_file": kit.config_file,
        "credentials": kit.credentials,
        "repositories": [
            {
                "name": one.name,
                "location": one.location,
                "id": one.id,
                "master_key": f"master-keys/{one.name}",
                "password": one.password,
                "password_file": kit.secret_file(one.password) if one.password else None,
            }
            for one in kit.repositories
        ],
        "secrets": {f"secrets/{name}": of for name, (of, _) in _named(kit.secrets).items()},
        "files": {f"access/{name}": of for name, (of, _) in _named(kit.files).items()},
    }
    text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
    buffer = io.BytesIO()
    # gzip's own time would make the same kit another file.
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in [
            (README, kit.readme.encode()),
            (INDEX, text.encode()),
            *((name, content) for name, content, _ in kit.members() if name != README),
        ]:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            member.mtime = int(kit.made_at.timestamp())
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack(content: bytes, subject: str) -> Kit:
    """The kit in an archive; IntegrityError `kit-damaged` when it is none."""
    try:
        files = dict(_files(content))
        index = json.loads(files[INDEX])
        if index["format"] != FORMAT or index["version"] != VERSION:
            raise _damaged(subject, "it is a kit of another kind or version")
        return _kit(index, files)
    except (
        tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError, AttributeError,
    ):  # fmt: skip
        # The cause is left out: it could quote a secret.
        raise _damaged(subject, "what is sealed in it is no recovery kit") from None


def _files(content: bytes) -> Iterator[tuple[str, bytes]]:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
        plain = packed.read(_SIZE_LIMIT_BYTES + 1)
    if len(plain) > _SIZE_LIMIT_BYTES:
        raise ValueError("larger than any kit")
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            if stream is None:
                raise ValueError("no plain file")
            yield member.name, stream.read()


def _kit(index: Any, files: Mapping[str, bytes]) -> Kit:  # Any: JSON values
    made_at = datetime.fromisoformat(index["made_at"])
    if made_at.tzinfo is None:
        raise ValueError("no time")
    kit = Kit(
        _word(index["kit"]),
        str(index["application"]),
        made_at,
        str(index["program"]),
        str(index["host"]),
        str(index["home"]),
        str(index["config_file"]),
        files[CONFIG].decode(),
        tuple(
            KitRepository(
                str(one["name"]),
                str(one["location"]),
                str(one["id"]),
                files[one["master_key"]].decode().strip(),
                None if one["password"] is None else str(one["password"]),
            )
            for one in index["repositories"]
        ),
        {str(of): files[name] for name, of in index["secrets"].items()},
        {str(of): files[name] for name, of in index["files"].items()},
        files[README].decode(),
        bool(index["credentials"]),
        files.get(RUNBOOK, b"").decode(),
    )
    for name, _, _ in kit.members():
        parts = PurePosixPath(name).parts
        if len(parts) not in (1, 2) or ".." in parts or name.startswith("/"):
            raise ValueError("a name that leads out")
    return kit


def _word(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{16}", value):
        raise ValueError("no id")
    return value


def _damaged(subject: str, reason: str) -> IntegrityError:
    return IntegrityError(reason, subject=subject, code="kit-damaged")
