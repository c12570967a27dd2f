"""One error tree, and the one table from which exit codes, hints and docs/ERRORS.md come.

An error is raised when something could not be *done*. A bad answer (three rows are missing) is
not an error: it is a `Finding` (see `model`). Families are cut by who must act. Texts carry what
failed with its subject, why, and one hint that begins with a verb; never a secret (invariant I6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

EXIT_FINE: Final = 0
EXIT_BUG: Final = 1
EXIT_USAGE: Final = 2
EXIT_PARTIAL: Final = 3
EXIT_STALE: Final = 40
EXIT_FAILED: Final = 41
EXIT_UNKNOWN: Final = 42
EXIT_INTERRUPTED: Final = 130


class Retry(StrEnum):
    """Whether the same call may succeed when made again."""

    NEVER = "never"
    LATER = "later"
    AFTER_ACTION = "after-action"


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table: a stable code, its exit status, who acts, and what to do."""

    code: str
    exit_status: int
    who_acts: str
    retry: Retry
    meaning: str
    hint: str


def _kind(
    code: str, exit_status: int, who_acts: str, retry: Retry, meaning: str, hint: str
) -> tuple[str, ErrorKind]:
    return code, ErrorKind(code, exit_status, who_acts, retry, meaning, hint)


_OPERATOR = "operator"
_DATABASE = "database administrator"
_HOST = "host administrator"
_STORE = "store administrator"
_SECURITY = "whoever answers for the data"

ERROR_KINDS: Final[dict[str, ErrorKind]] = dict(
    [
        _kind("usage", 2, _OPERATOR, Retry.NEVER,
              "The command line asks for something that does not exist or does not fit together.",
              "Run the command with --help."),
        _kind("config-missing", 2, _OPERATOR, Retry.AFTER_ACTION,
              "No configuration file was found in any of the places where one is looked for.",
              "Run `strongroom init` to write one, or name it with --config."),
        _kind("config-invalid", 2, _OPERATOR, Retry.AFTER_ACTION,
              "The configuration has faults; every one is listed with its place.",
              "Correct the places named, then run `strongroom config check`."),
        _kind("secret-unavailable", 2, _OPERATOR, Retry.AFTER_ACTION,
              "A secret reference (env:, file:, command:, keyring:) could not be resolved.",
              "Provide the secret where the reference points to."),
        _kind("secret-not-escrowed", 2, _OPERATOR, Retry.AFTER_ACTION,
              "A recovery needs a secret that `kit.escrow` does not name, so no kit holds it.",
              "Add the reference to `kit.escrow`, then make a new kit: `strongroom kit create`."),
        _kind("kit-missing", 2, _OPERATOR, Retry.AFTER_ACTION,
              "There is no recovery kit where one is to be.",
              "Make one with `strongroom kit create`, or name its file."),
        _kind("kit-locked", 2, _OPERATOR, Retry.AFTER_ACTION,
              "The recovery kit does not open with this passphrase or identity.",
              "Give the passphrase with --passphrase, or the secret key with --identity."),
        _kind("prune-unconfirmed", 2, _OPERATOR, Retry.AFTER_ACTION,
              "More would be dropped than the policy drops day by day: more than half of all, and "
              "nobody says that it is meant.",
              "Look at `strongroom prune --dry-run`, then say --yes when it is."),
        _kind("address-unavailable", 2, _OPERATOR, Retry.AFTER_ACTION,
              "The address on which health and metrics are to be told can't be listened on.",
              "Choose another address and port, or end the program that listens there."),
        _kind("busy", 4, _OPERATOR, Retry.LATER,
              "Another process holds a lock that this operation needs.",
              "Wait for the other process to finish, then run the command again."),
        _kind("target-not-empty", 5, _OPERATOR, Retry.AFTER_ACTION,
              "A restore writes only where nothing is; the target holds something.",
              "Choose an empty target."),
        _kind("target-refused", 5, _OPERATOR, Retry.AFTER_ACTION,
              "The target cannot or must not be written to.",
              "Choose another target."),
        _kind("target-space", 5, _OPERATOR, Retry.AFTER_ACTION,
              "The target's file system has less room than the snapshot takes; nothing was begun.",
              "Free space there or choose another target; --ignore-space restores all the same."),
        _kind("rows-moved", 5, _OPERATOR, Retry.LATER,
              "Live rows are not what they were when they were compared. Nothing was changed.",
              "Run the command again, and read its SQL anew."),
        _kind("output-failed", 6, _HOST, Retry.AFTER_ACTION,
              "The answer could not be written to standard output. What was to be done is done.",
              "Give standard output a place with space, then ask with `strongroom snapshots`."),
        _kind("source-failed", 10, _HOST, Retry.LATER,
              "A source could not be captured or restored.",
              "Look at the source named, then run the command again."),
        _kind("database-unreachable", 11, _DATABASE, Retry.LATER,
              "No connection to the database could be made.",
              "Check host, port and that the server is running."),
        _kind("database-missing", 11, _DATABASE, Retry.AFTER_ACTION,
              "The server has no database of this name.",
              "Correct the database's name in the URL."),
        _kind("database-login", 12, _DATABASE, Retry.AFTER_ACTION,
              "The database refused the login. It is not tried again.",
              "Correct user and password in the secret that the URL refers to."),
        _kind("database-privilege", 13, _DATABASE, Retry.AFTER_ACTION,
              "The role may not read everything, so the capture would be incomplete.",
              "Grant the privileges named."),
        _kind("client-programs", 14, _HOST, Retry.AFTER_ACTION,
              "No PostgreSQL client programs fit this server (major version, TLS).",
              "Install the package named."),
        _kind("path-unreadable", 15, _HOST, Retry.AFTER_ACTION,
              "A path that is to be captured is missing or cannot be read.",
              "Correct the path or its permissions."),
        _kind("code-unreadable", 16, _HOST, Retry.AFTER_ACTION,
              "The code directory is not a Git repository that can be read.",
              "Check the path with `git -C PATH status`."),
        _kind("secret-in-code", 17, _OPERATOR, Retry.AFTER_ACTION,
              "A file that is to be captured with the code looks like a secret.",
              "Remove it from `untracked`, or list it by name in `allow_secrets`."),
        _kind("sandbox-failed", 18, _HOST, Retry.LATER,
              "The throw-away database cluster did not start.",
              "Run `strongroom doctor`."),
        _kind("capture-aborted", 19, _DATABASE, Retry.LATER,
              "A client program failed or the connection was cut during the capture.",
              "Look at the database server's log, then run the backup again."),
        _kind("file-incomplete", 10, _OPERATOR, Retry.NEVER,
              "A file that is to be imported is cut short, or is not what it was when it was made.",
              "Look for another copy of the file, or for the one of the day before."),
        _kind("file-unfit", 10, _OPERATOR, Retry.AFTER_ACTION,
              "A file that is to be imported is whole, but cannot be loaded or unpacked as it is.",
              "Look at what the message names."),
        _kind("date-unknown", 2, _OPERATOR, Retry.AFTER_ACTION,
              "Nobody knows of which moment a file that is to be imported is, or it can be read in "
              "several ways.",
              "Say it with --captured-at TIME."),
        _kind("store-failed", 20, _STORE, Retry.LATER,
              "The store answered with an error.",
              "Look at the store named, then run the command again."),
        _kind("store-missing", 21, _STORE, Retry.AFTER_ACTION,
              "There is no repository at this location.",
              "Run `strongroom init`, or correct the location."),
        _kind("store-full", 22, _STORE, Retry.AFTER_ACTION,
              "The store has no space left. Every earlier snapshot is intact.",
              "Free space on the store, then run the command again."),
        _kind("store-refused", 23, _STORE, Retry.AFTER_ACTION,
              "The store does not permit this operation (permissions or a read-only medium).",
              "Grant access to the store's location."),
        _kind("wrong-password", 24, _OPERATOR, Retry.AFTER_ACTION,
              "No key of the repository opens with this password.",
              "Check the password that the repository's configuration refers to."),
        _kind("kit-mismatch", 24, _OPERATOR, Retry.NEVER,
              "The recovery kit is not the one of this application or repository.",
              "Use the newest kit of this application."),
        _kind("repository-exists", 25, _OPERATOR, Retry.NEVER,
              "A repository already exists at this location.",
              "Use it as it is, or choose another location."),
        _kind("snapshot-missing", 26, _OPERATOR, Retry.NEVER,
              "No snapshot matches.",
              "List what exists with `strongroom snapshots`."),
        _kind("path-missing", 27, _OPERATOR, Retry.NEVER,
              "The snapshot holds no such path.",
              "List what it holds with `strongroom ls SNAPSHOT`."),
        _kind("store-unreachable", 28, _STORE, Retry.LATER,
              "The store did not answer, or asked to come back later; waiting has not helped.",
              "Check the network and the store, then run the command again."),
        _kind("data-damaged", 30, _SECURITY, Retry.NEVER,
              "Bytes in the store do not match their name or their seal.",
              "Run `strongroom check --read-data` and restore from another repository."),
        _kind("pack-damaged", 31, _SECURITY, Retry.NEVER,
              "A pack file is missing, truncated or altered.",
              "Run `strongroom check --read-data`, then `strongroom repair`."),
        _kind("index-damaged", 32, _SECURITY, Retry.NEVER,
              "The index does not name a blob that a snapshot needs.",
              "Run `strongroom check`, then `strongroom repair`."),
        _kind("key-damaged", 33, _SECURITY, Retry.NEVER,
              "A key file is not one, or holds values that no tool would write.",
              "Restore the `keys` folder from a copy of the repository."),
        _kind("tree-damaged", 34, _SECURITY, Retry.NEVER,
              "A directory record in the repository is not valid or not safe to restore.",
              "Run `strongroom check` and restore from another repository."),
        _kind("snapshot-damaged", 35, _SECURITY, Retry.NEVER,
              "A snapshot file or the manifest inside a snapshot cannot be read.",
              "Run `strongroom check` and use another snapshot or repository."),
        _kind("verification-failed", 36, _HOST, Retry.NEVER,
              "What was about to be stored did not decrypt to what was read: memory or CPU faults.",
              "Test this host's memory before trusting anything that it writes."),
        _kind("ledger-damaged", 37, _SECURITY, Retry.AFTER_ACTION,
              "The ledger is missing, or not what was written to it; so nobody knows what is "
              "pinned or proven.",
              "Bring the state folder back from a copy; `strongroom doctor` looks at the ledger."),
        _kind("config-lost", 38, _SECURITY, Retry.AFTER_ACTION,
              "A repository has lost its `config` file, and nothing opens it without.",
              "Bring `config` back from a copy of this repository, or restore from another one; "
              "remove nothing here."),
        _kind("kit-damaged", 39, _SECURITY, Retry.NEVER,
              "A recovery kit is incomplete, altered, or none at all.",
              "Use another copy of the file, or scan its printed page."),
        _kind("interrupted", 130, _OPERATOR, Retry.LATER,
              "The operation was cancelled. Nothing half-done is visible.",
              "Run the command again."),
        _kind("bug", 1, "Strongroom's developers", Retry.NEVER,
              "Something happened that the program does not foresee.",
              "Run again with --verbose and report the trace."),
    ]
)  # fmt: skip


class StrongroomError(Exception):
    """Base of all errors that this program raises on purpose.

    `code` is a row of `ERROR_KINDS`; `subject` names what it happened to (a source, a repository,
    a file); `message` says why; `hint` replaces the table's when the place knows better.
    """

    default_code: ClassVar[str] = "bug"

    def __init__(
        self, message: str, *, subject: str = "", code: str | None = None, hint: str | None = None
    ) -> None:
        self.kind = ERROR_KINDS[code or self.default_code]
        self.subject = subject
        self.message = message
        self.hint = hint or self.kind.hint
        super().__init__(str(self))

    @property
    def code(self) -> str:
        return self.kind.code

    @property
    def exit_status(self) -> int:
        return self.kind.exit_status

    @property
    def retry(self) -> Retry:
        return self.kind.retry

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}" if self.subject else self.message


class ConfigError(StrongroomError):
    """Edit the file (or the command line)."""

    default_code = "config-invalid"


class SourceError(StrongroomError):
    """Look at the database or the host."""

    default_code = "source-failed"


class StorageError(StrongroomError):
    """Look at the store."""

    default_code = "store-failed"


class IntegrityError(StrongroomError):
    """Bytes don't match their name: stop, and tell someone."""

    default_code = "data-damaged"


class BusyError(StrongroomError):
    """Wait."""

    default_code = "busy"


class TargetError(StrongroomError):
    """Choose another target."""

    default_code = "target-refused"
