"""Runbooks from values: settings as text, evidence as records would have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from strongroom.config import Settings, parse_settings
from strongroom.model import Stage, Verdict
from strongroom.report.history import History
from strongroom.report.judgement import judge_evidence
from strongroom.report.kit_history import KitDrill, KitMade, KitScope
from strongroom.report.markdown import plain_text, tokens
from strongroom.report.observation import Chain, Evidence, Observation, Scope, SourceScope, Store
from strongroom.report.runbook_ground import Copy, Point, Procedure, Runbook
from strongroom.service.gathering import promise_of
from strongroom.service.masking import masked_commands
from tests.support.evidence_ground import NOW, ago, captures_of, history, proof, tree_of

SMALL = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: env:DATABASE_URL}
  uploads: {kind: files, path: /srv/tms/uploads}
  code: {kind: git, path: /srv/tms/app}
repositories:
  local: {location: /backup/tms, password: file:/etc/strongroom/local.key}
  offsite: {location: "s3:https://s3.example.com/tms", password: env:OFFSITE_PASSWORD}
"""


def settings_of(text: str) -> Settings:
    """The settings in a text, as if it lay in /etc/strongroom."""
    return parse_settings(text, base=Path("/etc/strongroom"))


def demo_settings(more: str = "") -> Settings:
    """The demonstration's own, with places that never change."""
    text = (resources.files("strongroom.demo") / "strongroom.yaml.in").read_text(encoding="utf-8")
    values: Mapping[str, str] = {
        "URL": "postgresql://postgres@/tms?host=/run/postgresql",
        "UPLOADS": "/srv/demo/uploads",
        "CODE": "/srv/demo/app",
        "UNTRACKED": '[".htaccess", "config/*.php"]',
        "REPOSITORY": "/srv/demo/repository",
        "KEY": "file:/srv/demo/repository.key",
        "STATE": "/srv/demo/state",
        "TRAINEE": '"42"',
        "EMAIL": "amina@example.com",
        "PASSWORD": "file:/srv/demo/trainee.password",
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return settings_of(text + more)


MADE = KitMade(
    3, ago(days=40), "0123456789abcdef", {}, {}, {}, {}, "strongroom-kit-tms-20261017-120000.age",
    "5e" * 32, ("passphrase",), "/var/lib/strongroom/kits", credentials=True,
)  # fmt: skip
KIT_DRILL = KitDrill(4, ago(days=30), MADE.kit, Verdict.PROVEN, "", MADE.file, MADE.digest)


def kit_scope(settings: Settings) -> KitScope | None:
    """What is configured of a kit, where one is, as if nothing had changed since it was made."""
    return KitScope((), {}, {}, {}, settings.kit.drill_age, True) if settings.kit else None


def evidence_of(
    settings: Settings, *observations: Observation, captured: bool = True, records: int = 9
) -> Evidence:
    """Evidence about these settings: one capture three hours ago, and these proofs."""
    names = tuple(settings.sources)
    repositories = tuple(settings.repositories)
    captures = captures_of(*names) if captured else []
    return Evidence(
        Scope(
            settings.application,
            tuple(SourceScope(name, one.kind) for name, one in settings.sources.items()),
            repositories,
            settings.environment,
            settings.schedule.time_zone,
            tuple(Store(one, one == "offsite", policy="p") for one in repositories),
            kit=kit_scope(settings),
        ),
        Chain(records, records, "ab" * 32 if records else ""),
        observations,
        tuple(one for one in captures if one.repository in repositories),
        history=history(kits=(MADE,), kit_drills=(KIT_DRILL,)) if settings.kit else History(),
    )


def drilled(settings: Settings, **more: Any) -> list[Observation]:  # Any: an observation's fields
    """A drill of every source from the first repository, PROVEN an hour ago."""
    first = next(iter(settings.repositories))
    return [
        proof(seq, name, **({"repository": first} | more))
        for seq, name in enumerate(settings.sources, start=2)
    ]


def point_of(settings: Settings, name: str = "20261126t0900", **ages: float) -> Point:
    """A point that every repository holds whole, captured three hours ago or so long."""
    copies = [
        Copy(source, repository, f"{number:x}" * 64, tree_of(source))
        for repository in settings.repositories
        for number, source in enumerate(settings.sources, start=5)
    ]
    return Point(name, ago(**(ages or {"hours": 3})), tuple(copies))


def ground(
    settings: Settings,
    evidence: Evidence | None = None,
    points: Sequence[Point] = (),
    procedures: Sequence[Procedure] = (),
    config_file: str = "/etc/strongroom/strongroom.yaml",
) -> Runbook:
    """What a runbook is made from."""
    evidence = evidence if evidence is not None else evidence_of(settings)
    promise = promise_of(settings)
    return Runbook(
        settings,
        judge_evidence(evidence, promise, NOW),
        evidence,
        promise,
        tuple(points),
        tuple(procedures),
        config_file,
        masked_commands,
    )


def proven_ground(settings: Settings, **more: Any) -> Runbook:  # Any: as `ground` takes them
    """One with a point, drilled an hour ago, and with a drill of the whole application."""
    seen = drilled(settings)
    whole = proof(
        8, "the application", action="application-drill", repository="", size_bytes=None,
        stages=(Stage("restore", 4.0), Stage("start", 0.9)), at=ago(hours=2),
    )  # fmt: skip
    assert whole.verdict is Verdict.PROVEN
    return ground(settings, evidence_of(settings, *seen, whole), [point_of(settings)], **more)


@dataclass(frozen=True)
class Block:
    """A block of commands, and the headings that it stands below, the highest first."""

    headings: tuple[str, ...]
    commands: str

    @property
    def heading(self) -> str:
        return self.headings[-1]


def blocks_of(markdown: str) -> list[Block]:
    """Every block of a document, in its order."""
    path: dict[int, str] = {}
    found = []
    read = tokens(markdown)
    for place, one in enumerate(read):
        if one.type == "heading_open":
            level = int(one.tag[1:])
            path = {key: name for key, name in path.items() if key < level}
            path[level] = plain_text(read[place + 1])
        elif one.type in ("fence", "code_block"):
            assert one.info in ("sh", ""), one.info
            found.append(Block(tuple(path[key] for key in sorted(path)), one.content))
    return found
