"""The registry of findings: one row per code gives severity, meaning, cause and remedy.

docs/FINDINGS.md is generated from this table, and a code that is not here cannot be reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How a finding counts: see `model.judge`. UNKNOWN means that it could not be checked."""

    NOTE = "note"
    WARNING = "warning"
    UNKNOWN = "unknown"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class FindingKind:
    """What a code means, where it comes from and what to do about it."""

    code: str
    severity: Severity
    meaning: str
    cause: str
    remedy: str


def _rows(*kinds: FindingKind) -> dict[str, FindingKind]:
    return {kind.code: kind for kind in kinds}


_F, _U, _W, _N = Severity.FAILURE, Severity.UNKNOWN, Severity.WARNING, Severity.NOTE

FINDING_KINDS: Final[dict[str, FindingKind]] = _rows(
    # Content of a database (rung "content")
    FindingKind("content-differs", _F,
                "A table's rows are not the rows that were captured.",
                "Rows were changed, added or lost after the restore or during it.",
                "Restore again from another repository; compare with `strongroom undelete`."),
    FindingKind("content-order", _N,
                "A table holds the same rows in another physical order.",
                "PostgreSQL placed rows differently on loading (fillfactor, for one).",
                "Nothing to do: rows are compared as a multiset."),
    FindingKind("content-missing", _F,
                "A table that was captured does not exist in the target.",
                "Its definition could not be restored, or it was dropped.",
                "Look at the load findings of the same drill."),
    FindingKind("content-generated", _F,
                "Generated columns have other values than at capture.",
                "The generating expression or a function that it calls has changed.",
                "Compare the column's expression in both databases."),
    FindingKind("content-large-object", _F,
                "A large object is missing or has other bytes.",
                "It was changed or lost.",
                "Restore large objects from another snapshot."),
    FindingKind("sequence-differs", _F,
                "A sequence is behind the value that was captured.",
                "Sequences were not restored, or were reset.",
                "Set the sequence to the captured value before new rows collide."),
    # Structure of a database (rung "structure")
    FindingKind("structure-missing", _F,
                "An object that was captured does not exist in the target.",
                "It could not be restored, or it was dropped.",
                "Look at the load findings of the same drill."),
    FindingKind("structure-extra", _F,
                "The target holds an object that was not captured.",
                "It was created after the restore, or the target was not empty.",
                "Drop it, or restore into an empty target."),
    FindingKind("structure-differs", _F,
                "An object's definition differs from what was captured.",
                "It was altered after the restore, or PostgreSQL could not restore it faithfully.",
                "Compare the two definitions in the message."),
    FindingKind("structure-rewritten", _N,
                "A definition's text differs only as PostgreSQL itself rewrites it on loading.",
                "Expressions such as `varchar IN (...)` are normalised once by a dump and load.",
                "Nothing to do."),
    FindingKind("structure-unchecked", _U,
                "An object's definition could not be compared.",
                "The sandbox lacks an extension, a locale or a feature of the source's server.",
                "Install what the message names and drill again."),
    FindingKind("structure-locale", _N,
                "The target database has another locale or locale provider.",
                "The target's server lacks the source's locale, or was set up with another one.",
                "Create the target with the source's locale where sorting order matters."),
    # Load of a database
    FindingKind("load-error", _F,
                "A statement failed while the database was loaded.",
                "The message is PostgreSQL's own.",
                "Correct its cause, then restore again."),
    FindingKind("load-note", _N,
                "PostgreSQL reported something harmless while loading.",
                "For example an object that already exists by default.",
                "Nothing to do."),
    FindingKind("sandbox-version", _U,
                "The sandbox runs another major version than the source.",
                "No programs of the source's version were found.",
                "Install the source's PostgreSQL version on the host that drills."),
    FindingKind("sandbox-lacks", _U,
                "The sandbox lacks something that the database needs.",
                "An extension, locale or build option is missing on the host that drills.",
                "Install what the message names and drill again."),
    # Drills and their records
    FindingKind("restore-failed", _F,
                "The snapshot cannot be brought back whole.",
                "Bytes in the repository are missing or do not match their names.",
                "Drill another repository's copy, and run `strongroom check --read-data`."),
    FindingKind("drill-stopped", _U,
                "The drill could not be carried out, so nothing is known about the snapshot.",
                "The sandbox, the store or the host failed, as the message says.",
                "Correct what the message names and drill again."),
    FindingKind("target-not-replaced", _W,
                "The target was left as it was.",
                "What was restored beside it is not proven to be identical to the snapshot.",
                "Look at the other findings; exchange the names by hand if they are harmless."),
    FindingKind("evidence-unrecorded", _W,
                "What was done could not be written to the ledger.",
                "The state directory is missing, full or not writable.",
                "Correct what the message names; the next run is recorded again."),
    # Capture of a database
    FindingKind("coverage-gap", _W,
                "Something exists in the source that this capture cannot hold.",
                "It is not exportable with the privileges or means at hand.",
                "See the manifest's coverage registry for what to keep by hand."),
    # Files
    FindingKind("file-changed", _W,
                "A file kept changing while it was read.",
                "The application was writing it.",
                "Nothing, when the next capture reads it whole; else capture at a quieter moment."),
    FindingKind("file-unreadable", _W,
                "A file or directory could not be read and is not in the snapshot.",
                "Permissions, or a fault of the medium.",
                "Let the capturing user read it, or exclude it explicitly."),
    FindingKind("file-vanished", _W,
                "A file was listed but gone when it was to be read.",
                "The application removed it meanwhile.",
                "Nothing, when that is expected."),
    FindingKind("file-skipped", _N,
                "A socket or another special file was not captured.",
                "Such files have no content to keep.",
                "Nothing to do."),
    FindingKind("folder-missing", _W,
                "A folder that the configuration requires is missing.",
                "It was removed, renamed, or the path is wrong.",
                "Correct `required:` or bring the folder back."),
    FindingKind("tree-missing", _F,
                "A file, directory or link of the snapshot is missing in the target.",
                "It was removed or not restored.",
                "Restore it again."),
    FindingKind("tree-extra", _F,
                "The target holds something that is not in the snapshot.",
                "It was added after the restore.",
                "Remove it, or restore into an empty directory."),
    FindingKind("tree-content", _F,
                "A file's bytes differ from the snapshot.",
                "It was changed or damaged.",
                "Restore it again."),
    FindingKind("tree-metadata", _F,
                "Type, mode, owner, time, link target or extended attributes differ.",
                "They were changed, or could not be set in the target.",
                "Restore as root on a file system that supports them."),
    FindingKind("metadata-unset", _W,
                "Mode, owner, time or an attribute could not be set on restoring.",
                "The restoring user or the file system does not permit it.",
                "Restore as root on a file system that supports them."),
    # Code
    FindingKind("code-uncommitted", _W,
                "Uncommitted changes are older than a day.",
                "Somebody changed the deployed code by hand.",
                "Commit them, or discard them."),
    FindingKind("code-ref-differs", _F,
                "A branch, tag or HEAD points elsewhere than was captured.",
                "It was moved, or history was rewritten.",
                "Compare both with `git log`."),
    FindingKind("code-damaged", _F,
                "The restored repository does not pass `git fsck`.",
                "Objects are missing or damaged.",
                "Restore from another snapshot."),
    FindingKind("code-tag-new", _N,
                "Tags are new since the last capture.",
                "A release was made.",
                "Nothing to do."),
    FindingKind("code-history-rewritten", _W,
                "A ref was moved to a commit that does not contain the captured one.",
                "History was rewritten with a forced push or a reset.",
                "Make sure that it was intended; earlier snapshots keep the old history."),
    FindingKind("code-untracked-missing", _W,
                "A declared untracked file does not exist.",
                "It was removed or renamed, or the pattern is wrong.",
                "Correct `untracked:` or bring the file back."),
    FindingKind("code-secret-committed", _W,
                "A file of the checked-out commit looks like a secret.",
                "It was committed; history keeps it even after it is removed.",
                "Change the secret, remove the file, or list it in `allow_secrets`."),
    FindingKind("code-shallow", _W,
                "The clone is shallow, so its older history is not in the snapshot.",
                "It was cloned with --depth.",
                "Run `git fetch --unshallow` in the checkout."),
    FindingKind("code-irregular", _N,
                "History holds objects in a form that today's git would not write.",
                "Old or foreign tools wrote them; a restore brings them back as they were.",
                "Nothing to do."),
    # Repository
    FindingKind("pack-missing", _F, "The index names a pack that the store does not hold.",
                "It was deleted, or never arrived.", "Copy it from another repository."),
    FindingKind("pack-size", _F, "A pack's size is not what the index says.",
                "It was truncated or altered.", "Copy it from another repository."),
    FindingKind("pack-content", _F, "A pack's bytes do not match its name, header or blobs.",
                "It was altered or has decayed.", "Copy it from another repository."),
    FindingKind("pack-orphaned", _N, "A pack is not in any index.",
                "A run was interrupted before it wrote its index.",
                "Nothing to do: `strongroom prune` removes it."),
    FindingKind("index-unreadable", _F, "An index file cannot be read.",
                "It was altered or is garbage.", "Run `strongroom repair`; restores go on."),
    FindingKind("index-hint", _N, "The index says the same thing twice, or mixes kinds in a pack.",
                "Two writers, or another tool.", "Nothing to do."),
    FindingKind("snapshot-unreadable", _F, "A snapshot file cannot be read.",
                "It was altered or is garbage.", "Copy it from another repository."),
    FindingKind("tree-unreadable", _F, "A directory record is missing or not valid.",
                "Its pack is damaged, or another tool wrote it wrongly.",
                "Copy the snapshot from another repository."),
    FindingKind("tree-order", _F, "A directory's entries are unsorted or repeated.",
                "Another tool wrote it wrongly, or it was altered.",
                "Capture again; restores refuse repeated names."),
    FindingKind("size-differs", _F, "A file's size is not the sum of its blobs.",
                "Another tool wrote it wrongly, or it was altered.", "Capture again."),
    FindingKind("blob-missing", _F, "A blob that a snapshot needs is not in the index.",
                "Its pack or index was lost.", "Copy the snapshot from another repository."),
    FindingKind("lock-removed", _N, "The lock of a dead process was removed.",
                "An earlier run was killed.", "Nothing to do."),
    FindingKind("repository-unreachable", _W, "A repository did not open, so it was not asked.",
                "Its store is away, or its password is not the right one.",
                "Look at the repository named."),
    FindingKind("repository-failed", _W, "A repository did not receive this capture.",
                "Its store failed during the run; the other repositories have it.",
                "Look at the store named; the next run brings it up to date."),
)  # fmt: skip
