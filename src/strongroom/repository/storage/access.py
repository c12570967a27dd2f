"""How a store lets us in: what the configuration says, the rest being where tools look for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Access:
    """Resolved values; `repr` shows none of them."""

    access_key: str | None = None
    secret_key: str | None = None
    session_token: str | None = None
    region: str | None = None
    profile: str | None = None
    user: str | None = None
    password: str | None = None
    identity: str | None = None
    known_hosts: str | None = None
    ca_file: str | None = None

    def __repr__(self) -> str:
        return "Access(...)"


AS_TOOLS_DO: Final = Access()
