"""All rows together, the list that they must cover, and what no row of them raises.

To add a fault: a row in its group's module; where it stands in `LISTED`, its name is the same. A
row that a new rung sees leaves `NOT_YET`.
"""

from __future__ import annotations

from typing import Final

from strongroom.findings import FINDING_KINDS
from strongroom.report.check import CHECK_KINDS
from tests.corpus import (
    capture,
    content,
    kits,
    object_store,
    points,
    records,
    standing,
    store,
    telling,
    trees,
)
from tests.corpus.model import Fault, NotYet, Way

GROUPS: Final = (
    "Capture",
    "Store",
    "Content of the restored database",
    "Files and code",
    "Time and people",
)
FAULTS: Final[tuple[Fault, ...]] = tuple(
    sorted(
        (
            *capture.FAULTS,
            *content.CAPTURE_FAULTS,
            *store.FAULTS,
            *object_store.FAULTS,
            *content.FAULTS,
            *points.FAULTS,
            *trees.FAULTS,
            *capture.OTHER_FAULTS,
            *records.FAULTS,
            *standing.FAULTS,
            *kits.FAULTS,
            *telling.FAULTS,
        ),
        key=lambda one: GROUPS.index(one.group),
    )
)
NOT_YET: Final[tuple[NotYet, ...]] = ()
WAYS: Final[tuple[Way, ...]] = tuple(dict.fromkeys(one.way for one in FAULTS))

# What must be in the corpus, or in NOT_YET with its reason.
LISTED: Final[dict[str, tuple[str, ...]]] = {
    "Capture": (
        "child killed mid-stream", "disk full mid-write", "connection cut",
        "tables dropped during capture", "role can't read one table", "row security hides rows",
        "client program older than server", "transaction pooler", "login fails",
        "file changes while read", "unreadable file", "vanished file",
        "directory swapped for a symbolic link",
        "upload referenced by the database but missing on disk", "code checkout dirty",
        "history of the code's remote rewritten",
    ),
    "Store": (
        "pack truncated", "pack with a flipped bit", "pack missing", "pack renamed",
        "pack swapped for another valid pack", "index missing", "index garbage",
        "index pointing at a pack that is gone", "snapshot file garbage",
        "snapshot deleted behind our back", "repository rolled back to an older state",
        "key file gone", "wrong password", "lock left by a dead process", "two writers at once",
        "object store answers 500, for good", "object store answers 503 slow down, for good",
        "object store times out", "object store lists late", "object store returns a short body",
        "credentials expired half-way", "copy destination partially uploaded",
        "object locked at prune", "clock an hour off", "disk full",
    ),
    "Content of the restored database": (
        "half-empty table", "one row changed", "one row missing", "policy USING turned into true",
        "policy gone", "row security off with policies present",
        "grant widened by default privileges", "grant lost", "function body changed",
        "trigger disabled", "sequence behind", "materialised view unpopulated",
        "constraint NOT VALID", "index invalid", "extension missing in the sandbox",
        "role missing", "database-level search_path lost", "large object missing",
        "owner changed", "view definition changed", "default value changed", "event trigger gone",
    ),
    "Files and code": (
        "one byte changed", "file missing", "extra file", "mode changed", "owner changed",
        "link target changed", "hard link split", "xattr lost", "empty directory lost",
        "commit missing", "tag moved", "untracked configuration lost",
        "a secret about to be captured",
    ),
    "Time and people": (
        "newest snapshot too old", "scheduler stopped", "backup much smaller than usual",
        "backup much larger than usual", "destination nearly full",
        "retention would drop the last proven snapshot", "alert delivery failed",
        "drill never ran", "database's drill pointed at production",
        "recovery kit doesn't open the repository", "review date passed", "ledger line edited",
        "ledger line removed", "ledger lines reordered",
    ),
}  # fmt: skip

NO_FAULT: Final = "says that something is harmless"
# Codes and checks that no row raises: why, and the test that raises them.
ELSEWHERE: Final[dict[str, tuple[str, str]]] = {
    "content-order": (NO_FAULT, "tests/e2e/test_postgres_changes.py"),
    "structure-rewritten": (NO_FAULT, "tests/e2e/test_structure.py"),
    "structure-locale": (NO_FAULT, "tests/unit/test_structure.py"),
    "load-note": (NO_FAULT, "tests/unit/test_postgres_text.py"),
    "file-skipped": (NO_FAULT, "tests/e2e/test_restic_reads_ours.py"),
    "tree-left-out": (NO_FAULT, "tests/unit/test_files_compare_live.py"),
    "code-tag-new": (NO_FAULT, "tests/e2e/test_code_capture.py"),
    "code-irregular": (NO_FAULT, "tests/e2e/test_code_prove.py"),
    "snapshot-foreign": (NO_FAULT, "tests/e2e/test_restic_brought_back.py"),
    "table-restored": ("says what `restore --table` did", "tests/e2e/test_cli_tables.py"),
    "proof-stopped": ("depends on who restores", "tests/e2e/test_restore_unread.py"),
    "content-unchecked": ("depends on who proves", "tests/e2e/test_postgres_refusals.py"),
    "structure-unchecked": ("depends on who proves", "tests/e2e/test_structure.py"),
    "capture-incomplete": ("follows what the capture told", "tests/e2e/test_cli_fault.py"),
    "target-space-unknown": ("what a server does not say", "tests/e2e/test_replace_database.py"),
    "switch-settled": ("follows a killed run", "tests/fault/test_replacement_killed.py"),
    "switch-in-steps": ("depends on the file system", "tests/fault/test_replacement_killed.py"),
    "restore-left-over": ("left by an earlier run", "tests/fault/test_replacement_killed.py"),
    "metadata-unset": ("depends on who restores", "tests/fault/test_files_restore.py"),
    "pack-orphaned": ("left by whatever was interrupted", "tests/fault/test_repository_crash.py"),
    "pack-unread": ("a promise about time", "tests/e2e/test_cli_check.py"),
    "index-hint": (NO_FAULT, "tests/fault/test_repository_prune.py"),
    "snapshot-repaired": ("follows a repair", "tests/e2e/test_cli_repair.py"),
    "tree-unreadable": ("needs a writer that lies", "tests/fault/test_repository_damage.py"),
    "tree-order": ("needs a writer that lies", "tests/fault/test_repository_damage.py"),
    "size-differs": ("needs a writer that lies", "tests/fault/test_repository_damage.py"),
    "access-unchecked": ("depends on who captures and proves", "tests/e2e/test_rungs.py"),
    "amcheck-unchecked": ("depends on the host that drills", "tests/e2e/test_rungs.py"),
    "application-older-point": (NO_FAULT, "tests/e2e/test_application_drill.py"),
    "application-open": ("says what was allowed", "tests/e2e/test_application_drill.py"),
    "application-swallowed": (NO_FAULT, "tests/e2e/test_application_drill.py"),
    "application-unchecked": ("depends on the host", "tests/e2e/test_application_drill.py"),
    "recovery-changed": ("follows a run that failed", "tests/e2e/test_recover_again.py"),
    "recovery-copy-failed": ("follows what a restore told", "tests/e2e/test_recover.py"),
    "recovery-mixed": ("says what was chosen", "tests/e2e/test_recover.py"),
    "recovery-older-point": ("says what was chosen", "tests/e2e/test_recover.py"),
    "recovery-unproven": ("says what was chosen", "tests/e2e/test_recover.py"),
    "runbook-incomplete": ("the host's own files", "tests/e2e/test_runbook.py"),
    "undelete-parents": (NO_FAULT, "tests/e2e/test_undelete.py"),
    "undelete-parent-differs": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-children": (NO_FAULT, "tests/e2e/test_undelete.py"),
    "undelete-columns": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-triggers": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-sequence": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-altered": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-obstacle": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "undelete-unchecked": ("the live database's own", "tests/e2e/test_undelete_live.py"),
    "rpo-exceeded": ("a promise about time", "tests/e2e/test_recover.py"),
    "collation-changed": ("needs another C library", "tests/e2e/test_rungs.py"),
    "collation-differs": ("needs another C library", "tests/e2e/test_rungs.py"),
    "coverage-unproven": ("what lies on another server", "tests/e2e/test_rungs.py"),
    "file-orphaned": (NO_FAULT, "tests/e2e/test_point_drill.py"),
    "query-unchecked": ("a query that never ran", "tests/e2e/test_rungs.py"),
    "question-left-out": (NO_FAULT, "tests/e2e/test_rungs.py"),
    "reference-unasked": ("a backup's quick look", "tests/e2e/test_point_drill.py"),
    "rto-exceeded": ("a promise about time", "tests/e2e/test_application_drill.py"),
    "sample-partial": ("says what was asked for", "tests/e2e/test_sample_drill.py"),
    "sandbox-network": (NO_FAULT, "tests/e2e/test_confinement.py"),
    "sandbox-quarantined": (NO_FAULT, "tests/e2e/test_application_drill.py"),
    "import-changed": (NO_FAULT, "tests/e2e/test_import_database.py"),
    "import-role-made": (NO_FAULT, "tests/e2e/test_import_database.py"),
    "import-locale": ("what the file does not say", "tests/e2e/test_import_database.py"),
    "import-left-out": ("what the file holds", "tests/unit/test_unpacking.py"),
    "import-incomplete": ("a file from before, as permitted", "tests/e2e/test_import_database.py"),
    "import-not-kept": ("says what a policy will do", "tests/e2e/test_import_database.py"),
    "open-changed": (NO_FAULT, "tests/e2e/test_open.py"),
    "sandbox-space": ("the host's trouble", "tests/e2e/test_failures.py"),
    "source-unsound": ("the source's own fault", "tests/e2e/test_rungs.py"),
    "agent": ("a fleet's trouble", "tests/e2e/test_fleet.py"),
    "workers": ("a fleet's trouble", "tests/e2e/test_fleet.py"),
    "kit-without-codes": ("a very large kit", "tests/e2e/test_kit.py"),
    "extension-differs": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "file-unmade": ("needs another file system", "tests/unit/test_target_names.py"),
    "role-made": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "role-mapped": ("says what was asked for", "tests/e2e/test_cli_targets.py"),
    "role-missing": ("depends on who restores", "tests/e2e/test_restore_targets.py"),
    "target-encoding": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "target-grant": ("depends on who restores", "tests/e2e/test_restore_targets.py"),
    "target-kept": (NO_FAULT, "tests/e2e/test_restore_targets.py"),
    "target-narrowed": (NO_FAULT, "tests/e2e/test_restore_targets.py"),
    "target-older": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "target-own": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "target-owner": ("depends on who restores", "tests/e2e/test_restore_targets.py"),
    "target-refused": ("depends on who restores", "tests/e2e/test_restore_targets.py"),
    "target-secret": ("depends on who captures", "tests/e2e/test_restore_targets.py"),
    "target-tablespace": ("depends on the target", "tests/e2e/test_restore_targets.py"),
    "locks-ending": ("needs a store with rights", "tests/e2e/test_cli_immutable.py"),
}  # fmt: skip


def raised_by(code: str) -> tuple[str, ...]:
    """The names of the faults that raise a code."""
    return tuple(one.name for one in FAULTS if code in one.codes)


def codes_without_row() -> set[str]:
    """Codes of findings, and checks, that no row raises and nothing else explains."""
    known = FINDING_KINDS.keys() | CHECK_KINDS.keys()
    return {code for code in known if not raised_by(code) and code not in ELSEWHERE}
