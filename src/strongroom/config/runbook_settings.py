"""The declaration of what operators add to the recovery document that `runbook` writes.

Part of `settings`. Nothing named here is run by the program: it stands in the document, for people.
"""

from __future__ import annotations

from typing import Literal

from strongroom.config.recovery_settings import Line
from strongroom.config.scalar import AbsolutePath
from strongroom.config.section import Section, setting


class RunbookSettings(Section):
    """What operators add to the document that `strongroom runbook` writes."""

    procedures: tuple[AbsolutePath, ...] = setting(
        "Markdown files with procedures of your own, which the document holds in full; their"
        " headings become lower ones.",
        default=(),
        examples=[["/etc/strongroom/procedures/dns.md"]],
    )
    before: tuple[Line, ...] = setting(
        "Commands that whoever recovers runs by hand before the first step, as a shell takes them."
        " What `recover` runs by itself stands under `recovery`.",
        default=(),
        examples=[["systemctl stop nginx"]],
    )
    after: tuple[Line, ...] = setting(
        "The same for after the last step.",
        default=(),
        examples=[["systemctl start nginx"]],
    )
    provider: Literal["supabase", "other"] | None = setting(
        "Whose own restore is the third way to the database: with other, whoever runs the server."
        " Without it, that is told from a database's URL where it is written out.",
        default=None,
        examples=["supabase"],
    )
