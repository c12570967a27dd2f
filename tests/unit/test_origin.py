"""From where a process was started, as the kernel and the environment tell it."""

from __future__ import annotations

import pytest

from strongroom.service.origin import address_in, unit_of


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        (b"", ""),
        (b"SSH_CONNECTION=203.0.113.5 50022 198.51.100.1 22", "203.0.113.5"),
        (b"HOME=/root\0SSH_CLIENT=2001:db8::7 50022 22\0", "2001:db8::7"),
        (b"SSH_CONNECTION=", ""),
        (b"SSH_CONNECTION=\x1b[2J somewhere\0SSH_CLIENT=192.0.2.1 1 2", "192.0.2.1"),
        (b"XSSH_CLIENT=192.0.2.1 1 2", ""),
        (b"SSH_CLIENT=\xff\xfe", ""),
    ],
)
def test_the_address_of_a_connection(environment: bytes, address: str) -> None:
    assert address_in(environment) == address


@pytest.mark.parametrize(
    ("groups", "unit"),
    [
        ("", ""),
        ("0::/\n", ""),
        ("0::/system.slice/strongroom.service\n", "strongroom.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("0::/system.slice/cron.service/inner\n", "cron.service"),
        ("12:cpu:/\n1:name=systemd:/system.slice/strongroom-backup.service\n",
         "strongroom-backup.service"),
        ("0::/system.slice/odd\x1b.service\n", "odd?.service"),
    ],
)  # fmt: skip
def test_the_unit_of_a_process(groups: str, unit: str) -> None:
    assert unit_of(groups) == unit
