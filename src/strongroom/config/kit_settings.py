"""The declaration of the recovery kit: what is in it, for whom it is sealed, and how it is drilled.

Part of `settings`; what relates it to the rest is checked in `kit_relation`, and what a recovery
needs that is not in it is told by `escrow`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

from strongroom.config.scalar import AbsolutePath, Duration, Secret
from strongroom.config.section import Section, setting

_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}")


def check_recipient(text: str) -> str:
    """The text of a public key of age, as `age-keygen` prints it; ValueError when it is none."""
    if text.upper().startswith("AGE-SECRET-KEY-"):
        raise ValueError("this is a secret key, which is never written here; give the public one")
    if not _RECIPIENT.fullmatch(text):
        raise ValueError("a recipient is a public key of age: age1 and 58 more characters")
    return text


Recipient = Annotated[str, AfterValidator(check_recipient)]


class Kit(Section):
    """The recovery kit: one encrypted file, and a page to print, from which `recover --kit` brings
    the application back on a machine that has nothing else."""

    escrow: tuple[Secret, ...] = setting(
        "Secrets that the kit holds: environment variables, files such as .env, whatever a "
        "recovery needs. A repository's password alone does not open them.",
        default=(),
        examples=[["env:DATABASE_URL", "file:/srv/tms/app/.env"]],
    )
    credentials: bool = setting(
        "Whether the kit holds what lets us into the stores (`access` of the repositories), too.",
        default=False,
    )
    recipients: tuple[Recipient, ...] = setting(
        "Public keys of age: whoever has the secret key of one opens the kit. Without any, it is "
        "sealed with a passphrase.",
        default=(),
        examples=[["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]],
    )
    passphrase: Secret | None = setting(
        "Where the passphrase is kept that seals the kit, and that opens it for the lost-key "
        "drill of the schedule. With `recipients` it opens the file of `identity`.",
        default=None,
        examples=["file:/etc/strongroom/kit.passphrase"],
    )
    identity: AbsolutePath | None = setting(
        "The file of a secret key of age, of one of `recipients`, that opens the kit for the "
        "lost-key drill of the schedule.",
        default=None,
        examples=["/etc/strongroom/drill.identity"],
    )
    folder: AbsolutePath | None = setting(
        "Where kits are written, and where the drill takes the newest from.",
        default=None,
        examples=["/var/lib/strongroom/kits"],
    )
    drill_age: Duration = setting(
        "How old the newest lost-key drill may be.", default=timedelta(days=100)
    )

    @property
    def is_drilled_by_itself(self) -> bool:
        """Whether all is there that the schedule needs to drill it."""
        return self.folder is not None and (
            self.passphrase is not None or self.identity is not None
        )
