"""Copies of the ledger in the repositories: what was observed must not be lost with the host.

With each capture the ledger goes into every repository that received it, also when snapshots were
copied into one, before some are dropped from one, and when one is pinned: as a snapshot of its own
(`kind:ledger`, so that any restic reads it). On a host whose ledger is gone, the longest
copy is taken up again; what was recorded there meanwhile follows. A copy that holds what the
ledger here does not is a failure: then somebody has cut or rewritten one of them.

Several hosts may share a repository. Their ledgers are told apart by the tag `ledger:`, the
beginning of the hash with which each began.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from strongroom.errors import StrongroomError
from strongroom.evidence import ADOPTED, AUDIT_KINDS, Entry, Ledger, branch, records
from strongroom.model import Finding, finding
from strongroom.repository import (
    ROWS,
    Folder,
    Repository,
    Snapshot,
    SnapshotView,
    SnapshotWriter,
)
from strongroom.repository.lock import Lock
from strongroom.service.application import LOG, Application, make_private
from strongroom.service.configuration import record_configuration

KIND: Final = "ledger"
PATH: Final = b"/.strongroom/ledger.jsonl"
_TAG_DIGITS: Final = 16
# Kinds of records that tell of no snapshot: who ran which command, what is scheduled and told, and
# the service's life. A ledger of these alone was begun a moment ago, perhaps by the very command
# that asks, and knows no more than one that is missing.
_OF_NO_SNAPSHOT: Final = AUDIT_KINDS | {
    "alert", "job", "ping", "schedule", "service", "verdict", "verify"
}  # fmt: skip
# Records of what goes along with a copy: a ledger that holds one is in a repository, most likely.
_COPIED_WITH: Final = frozenset(
    {"backup", "import", "copy", "prune", "repair", "pin", "unpin", "acknowledge", ADOPTED}
)


def is_copy(snapshot: Snapshot) -> bool:
    """Whether this snapshot holds a ledger, and no source."""
    return snapshot.kind == KIND and snapshot.source is None


def store_copies(
    application: Application,
    repositories: Sequence[Repository],
    point: str | None = None,
    locks: Mapping[str, Lock] = MappingProxyType({}),
    *,
    beside: Mapping[bytes, bytes] = MappingProxyType({}),
    tags: Sequence[str] = (),
) -> list[Finding]:
    """Put the ledger as it stands into each repository; a finding for each that did not take it.

    The copy belongs to a recovery point if one is given. `locks` are those that the caller holds
    already, by repository; `beside` holds files, by path, that go along, and `tags` say so.
    """
    ledger = application.ledger
    now = application.clock()
    options = replace(application.writer_options(), workers=1, processes=0)
    try:
        writer = SnapshotWriter(repositories, options, locks=locks)
        with writer:
            folder = Folder(int(now.timestamp()) * 10**9)
            folder.add(PATH, writer.put_stream([ledger.content()], ROWS))
            for path, content in beside.items():
                folder.add(path, writer.put_bytes(content))
            writer.commit(
                folder.store(writer),
                paths=[PATH.decode()],
                tags=[
                    "strongroom",
                    *tags,
                    f"kind:{KIND}",
                    f"application:{application.name}",
                    *([f"point:{point}"] if point else []),
                    f"ledger:{ledger.branch()[:_TAG_DIGITS]}",
                ],
                time=now,
            )
    except StrongroomError as error:
        LOG.debug("the ledger was not copied", exc_info=True)
        return [finding("evidence-uncopied", error.subject or "ledger", str(error))]
    return [
        finding("evidence-uncopied", one.subject, one.message)
        for one in writer.findings
        if one.code == "repository-failed"
    ]


def store_copies_in(application: Application, names: Iterable[str]) -> list[Finding]:
    """Put the ledger into the repositories of these names, once each."""
    repositories = [application.repository(name) for name in dict.fromkeys(names)]
    return store_copies(application, repositories) if repositories else []


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy that can be read, with the number of its records."""

    repository: Repository
    snapshot: Snapshot
    content: bytes
    length: int


def take_up(
    application: Application, repositories: Sequence[Repository] | None = None
) -> list[Finding]:
    """Go on with the longest copy when this host has no ledger: it is new, or has lost it. So it
    is with a ledger of which there is no copy yet; its records follow those of the copy.

    Asks all repositories that open unless some are given. A finding when that was done, and one
    for each copy that can't be read.
    """
    if application.store_as_of is not None:
        return []  # nobody goes on from a past that is only looked at
    meanwhile = _begun_here(application.ledger)
    if meanwhile is None:
        return []
    findings: list[Finding] = []
    found: list[_Copy] = []
    for repository in application.reachable()[0] if repositories is None else repositories:
        try:
            with repository.reading():
                for snapshot in _newest_of_each(application, repository):
                    match _load(repository, snapshot):
                        case _Copy() as copy:
                            found.append(copy)
                        case unreadable:
                            findings.append(unreadable)
        except StrongroomError as error:
            findings.append(finding("ledger-unreadable", repository.name, str(error)))
    if not found:
        return findings
    best = max(found, key=lambda one: (one.length, one.snapshot.time))
    fields = {
        "application": application.name,
        "repository": best.repository.name,
        "snapshot": best.snapshot.id,
        "records": best.length,
        "carried": len(meanwhile),
    }
    try:
        make_private(application.state)
        application.ledger.adopt(best.content, fields, meanwhile)
    except StrongroomError:
        return findings  # nothing can be written here, which the record to come tells
    if application.config_recorded:  # in a ledger that knew no settings from before
        application.config_recorded = False
        findings += filter(None, [record_configuration(application)])
    message = (
        f"{best.length} records were taken from snapshot {best.snapshot.short_id} of "
        f"{best.repository.name}"
    )
    return [*findings, finding("ledger-adopted", "ledger", message)]


def _begun_here(ledger: Ledger) -> list[Entry] | None:
    """The records of a ledger that was begun here and copied nowhere, none when there is no
    ledger; None for any other, and for one that is not what was written."""
    if not ledger.path.exists():
        return []
    found = []
    try:
        for entry in ledger.entries():
            if entry.kind in _COPIED_WITH:
                return None
            found.append(entry)
        return None if ledger.verify() else found
    except StrongroomError:
        return None


def tells_of_snapshots(entry: Entry) -> bool:
    """Whether a record is more than one of who ran which command, or of the service's life."""
    return entry.kind not in _OF_NO_SNAPSHOT


def knows_snapshots(ledger: Ledger) -> bool:
    """Whether any of its records tells of them."""
    return any(map(tells_of_snapshots, ledger.entries()))


def _load(repository: Repository, snapshot: Snapshot) -> _Copy | Finding:
    try:
        content = SnapshotView(repository, snapshot).read(PATH)
        return _Copy(repository, snapshot, content, len(records(content)))
    except StrongroomError as error:
        subject = f"{repository.name}: snapshots/{snapshot.id}"
        return finding("ledger-unreadable", subject, str(error))


def broken(application: Application) -> list[Finding]:
    """Failures when the ledger here is not what was written, or can't be read: what it no longer
    tells must not make anything look better (invariant I5)."""
    ledger = application.ledger
    try:
        faults = ledger.verify()
    except StrongroomError as error:
        return [finding("ledger-broken", str(ledger.path), error.message)]
    return [
        finding("ledger-broken", str(ledger.path), f"line {one.line}: {one.message}")
        for one in faults[:3]
    ]


def compare(application: Application, repository: Repository) -> list[Finding]:
    """Failures when the ledger here is not the newest copy's continuation, or is broken itself."""
    findings = broken(application)
    if knows_snapshots(application.ledger):
        findings += held_against(application, repository) or ()
    return findings


def held_against(application: Application, repository: Repository) -> list[Finding] | None:
    """What the ledger here lacks of its newest copy in a repository, or has otherwise; None when
    there is no copy of it. Without any record here, all copies of this application are of it.

    A ledger that was forged from its first record on looks like another host's. So the captures
    that it tells of must not stand otherwise in a copy of any other.
    """
    ledger = application.ledger
    copies = _newest_of_each(application, repository)
    if not knows_snapshots(ledger):
        mine, here, others = copies[-1:], [], []
    else:
        here, tag = list(ledger.entries()), ledger.branch()[:_TAG_DIGITS]
        mine = [one for one in copies if _branch_tag(one) == tag]
        others = [one for one in copies if one not in mine]
    findings: list[Finding] = []
    for snapshot in mine:
        where = _place_of(snapshot, repository)
        match _load(repository, snapshot):
            case _Copy() as copy:
                findings += _differences(here, records(copy.content), str(ledger.path), where)
            case unreadable:
                findings.append(unreadable)
    for snapshot in others:
        where = _place_of(snapshot, repository)
        match _load(repository, snapshot):
            case _Copy() as copy:
                findings += _otherwise_told(here, records(copy.content), str(ledger.path), where)
            case _:  # that it can't be read is for its own host to say
                continue
    return findings if mine or findings else None


def _place_of(snapshot: Snapshot, repository: Repository) -> str:
    return f"snapshot {snapshot.short_id} of {repository.name}"


def _otherwise_told(
    here: Sequence[Entry], copied: Sequence[Entry], subject: str, where: str
) -> Iterator[Finding]:
    """A capture is recorded once. Where a ledger was taken up from a copy its record is the same;
    since each hash covers all that was before, it is another one after any edit."""
    known = set(_captures(here))
    points = {point for point, _ in known}
    for point, hash_ in _captures(copied):
        if point in points and (point, hash_) not in known:
            message = f"the capture of {point} is another record in {where}, of another ledger"
            yield finding("ledger-differs", subject, message)
            return


def _captures(entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """The recovery points that were captured, each with its record's hash."""
    for one in entries:
        point = one.fields.get("point")
        if one.kind == "backup" and isinstance(point, str):
            yield point, one.hash


def lasting(copies: Sequence[Snapshot], points: Collection[str | None]) -> dict[str, str]:
    """For each copy of a ledger that stays the reason why, by its id: it is the newest of its
    ledger, or belongs to one of the recovery points that stay."""
    newest = {_branch_tag(one): one.id for one in sorted(copies, key=lambda one: one.time)}
    kept = {one.id: "its recovery point stays" for one in copies if one.point in points}
    return kept | dict.fromkeys(newest.values(), "the newest copy of its ledger")


def _differences(
    here: Sequence[Entry], copied: Sequence[Entry], subject: str, where: str
) -> Iterator[Finding]:
    if here and branch(copied) != branch(here):
        yield finding("ledger-differs", subject, f"{where} holds another ledger")
        return
    known = {one.seq: one.hash for one in here}
    for entry in copied:
        if entry.seq not in known:
            message = f"record {entry.seq} of {len(copied)} in {where} is missing here"
            yield finding("ledger-differs", subject, message)
            return
        if known[entry.seq] != entry.hash:
            message = f"record {entry.seq} is another one in {where}"
            yield finding("ledger-differs", subject, message)
            return


def _newest_of_each(application: Application, repository: Repository) -> list[Snapshot]:
    """The newest copy of each ledger of this application, by the order of their times."""
    newest: dict[str, Snapshot] = {}
    for snapshot in repository.snapshots().snapshots:
        if is_copy(snapshot) and snapshot.application == application.name:
            newest[_branch_tag(snapshot)] = snapshot
    return list(newest.values())


def _branch_tag(snapshot: Snapshot) -> str:
    return next((tag[7:] for tag in snapshot.tags if tag.startswith("ledger:")), "")
