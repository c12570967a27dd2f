"""The beginning of the runbook's first route: a recovery from the kit alone. Which is the newest,
where it was written, what opens it, and whether it was drilled, as the ledger has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from strongroom.config.escrow import access_files, access_needs, needs
from strongroom.model import Verdict
from strongroom.report.kit_history import KitMade
from strongroom.report.markdown import code, fenced, table, text
from strongroom.report.runbook_ground import Runbook
from strongroom.report.shell import kept_at

__all__ = ["kit_drill_times", "kit_route", "newest_kit"]

_PASSPHRASE: Final = ("passphrase",)
_CHECKS: Final = ("kit", "kit-drill")


def newest_kit(ground: Runbook) -> KitMade | None:
    """The newest kit that the ledger knows of; None where none is configured or made."""
    kits = ground.evidence.history.kits
    return kits[-1] if kits and ground.settings.kit is not None else None


def kit_drill_times(ground: Runbook) -> str:
    """When the lost-key drill runs by itself, as a cell of a table."""
    kit = ground.settings.kit
    if kit is None:
        return "never: no `kit` is configured"
    if not kit.is_drilled_by_itself:
        return "never: `kit` does not say where kits are and what opens them"
    return code(ground.settings.schedule.kit_drill)


def kit_route(ground: Runbook, asked: Sequence[str], words: str) -> Iterator[str]:
    """What the kit is, and the commands; `asked` are lines that ask for variables, `words` what
    `recover` is told of the database."""
    made = newest_kit(ground)
    if made is None:
        yield (
            "**No kit was made yet**, as far as was known when this was written. Make one with "
            "`strongroom kit create` while there is time, and carry it off this host."
        )
        yield ""
        return
    yield (
        "An empty machine with the program, the file of the kit (or the texts of the codes on its "
        "printed page, in any order), what opens it, and one repository that survived. The kit "
        "holds the configuration, the master keys and the secrets."
    )
    yield from table(("The newest kit", ""), list(_facts(ground, made)))
    yield "Set these variables first:"
    yield from table(("Variable or file", "What it says"), list(_variables(ground, made)))
    run = (
        f'strongroom recover --kit "${{KIT:?}}" {_opening(made)} \\\n  --to "${{TARGET:?}}"{words}'
    )
    yield "What would be done, from where, and how long it took in drills; nothing is written:"
    yield from fenced([
        "unset STRONGROOM_CONFIG",
        ': "${KIT:?the file of the recovery kit}"',
        *asked,
        f"{run} --dry-run",
    ])  # fmt: skip
    yield (
        "It says the SHA-256 of the file first: compare that. Then everything, proven and timed. "
        "Stopped at any moment, the same line goes on:"
    )
    yield from fenced([f"{run} --reason 'disaster recovery'"])


def _facts(ground: Runbook, made: KitMade) -> Iterator[tuple[str, str]]:
    yield "File", f"{code(made.file)}; kit {code(made.kit)}, made {ground.clock(made.at)}"
    if made.folder:
        yield "Written to", f"{code(made.folder)}; it belongs off that host"
    yield "SHA-256", code(made.digest) if made.digest else "on its printed page"
    yield "Opened by", _opener(ground, made)
    drills = [one for one in ground.evidence.history.kit_drills if one.is_of(made)]
    if drills:
        verdict = drills[-1].verdict
        told = verdict.value if verdict is Verdict.PROVEN else f"**{verdict.value}**"
        yield "Drilled", f"{ground.clock(drills[-1].at)}: {told}"
    else:
        yield "Drilled", "**never**: nobody has recovered from it alone"
    for one in ground.report.checks:
        if one.name in _CHECKS and not one.is_well:
            yield f"**{one.verdict.value}**", text(one.observed)


def _opener(ground: Runbook, made: KitMade) -> str:
    kit = ground.settings.kit
    if made.sealed_for == _PASSPHRASE:
        kept = kit.passphrase if kit is not None else None
        here = f"; on the lost host it stood in {code(kept_at(kept))}" if kept else ""
        return f"its passphrase{here}"
    keys = ", ".join(map(code, made.sealed_for))
    return f"the secret key (of age) of any one of {keys}" if keys else "not known"


def _variables(ground: Runbook, made: KitMade) -> Iterator[tuple[str, str]]:
    yield "`KIT`", "the file of the kit"
    if made.sealed_for == _PASSPHRASE:
        yield (
            "`KIT_PASSPHRASE_FILE`",
            "a file with its passphrase, of mode 600; without it, you are asked",
        )
    else:
        yield "`KIT_IDENTITY`", "a file with a secret key of age that opens it"
    yield "`TARGET`", "an empty or new directory for files and code"
    for name in ground.databases_to_name().values():
        yield code(name), "the URL of an empty or new database, with its password"
    settings = ground.settings
    held = settings.kit.escrow if settings.kit is not None else ()
    outside = [one for one in needs(settings) if not one.setting.startswith("sources.")]
    places = {one.reference: one.setting for one in outside if one.reference not in held}
    if not made.credentials:
        apart = [one for one in access_needs(settings) if one.reference not in held]
        places |= {one.reference: one.setting for one in (*apart, *access_files(settings))}
    for place, setting in places.items():
        yield code(kept_at(place)), f"**not in the kit**: {code(setting)}"


def _opening(made: KitMade) -> str:
    if made.sealed_for == _PASSPHRASE:
        return '${KIT_PASSPHRASE_FILE:+--passphrase "file:$KIT_PASSPHRASE_FILE"}'
    return '--identity "${KIT_IDENTITY:?a file with a secret key of age}"'
