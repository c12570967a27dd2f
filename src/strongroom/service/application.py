"""One protected application, as its configuration describes it: the wiring.

Repositories are opened when first needed, several at once (each costs an scrypt), and a password
is resolved only then. Sources are built from their settings without touching what they protect.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from strongroom.config import (
    RepositorySettings,
    Settings,
    find_config,
    parse_settings,
    read_config,
    resolve_secret,
)
from strongroom.config.settings import default_state
from strongroom.config.value import is_reference
from strongroom.errors import ConfigError, IntegrityError, StorageError, StrongroomError
from strongroom.evidence import Entry, Ledger, utc_now
from strongroom.model import Finding, Progress, Silent, finding
from strongroom.service.lifeline import configuration_in_force
from strongroom.service.rendering import time_json

if TYPE_CHECKING:
    # Imported where they are used: a status opens no repository and is asked each minute.
    from strongroom.repository import Repository, WriterOptions
    from strongroom.repository.crypto import MasterKey
    from strongroom.repository.storage import ObjectLock, Patience, Storage
    from strongroom.sources import Source

LOG: Final = logging.getLogger("strongroom")
LEDGER_NAME: Final = "ledger.jsonl"
# A recovery point takes the database first and the files after it, so that every file that a
# row mentions is there.
CAPTURE_ORDER: Final = ("postgres", "files", "git")


# A store that is away must not hold up what the others can do.
_OPEN_GRACE_SECONDS: Final = 15.0


def _silent(name: str) -> StorageError:
    return StorageError(
        f"it has not answered within {_OPEN_GRACE_SECONDS:.0f} s",
        subject=name,
        code="store-unreachable",
    )


def _nobody(_: str) -> None:
    """Where messages go when nobody listens."""


class Application:
    """The settings with everything they name. Safe to use from one thread at a time.

    `say` receives what a person should know meanwhile, `progress` how far a run is. The limits,
    bytes a second, go before those of the settings, and so do `state_folder` and `patience`, which
    is how long stores are tried. `clock` says when something was captured or recorded, and how old
    it is by now; how long a run takes is measured without it. With `store_as_of`, stores are read
    as they were at that moment, which only buckets with versions know, and each record says so.
    With `deep`, drills look as deep as they can.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        progress: Progress | None = None,
        say: Callable[[str], None] = _nobody,
    ) -> None:
        self.settings = settings
        self.progress = progress or Silent()
        self.say = say
        self.limit_upload: int | None = None
        self.limit_download: int | None = None
        self.store_as_of: datetime | None = None
        self.patience: Patience | None = None
        # Another one in tests and simulations only.
        self.clock: Callable[[], datetime] = utc_now
        # What the records of one run of a command have in common.
        self.run = secrets.token_hex(8)
        self.deep = False
        self.state_folder: Path | None = None
        self.config_file: Path | None = None
        self.config_text: str | None = None  # as it was read
        # Of a recovery kit: what opens repositories, and where files lie that stores ask for.
        self.master_keys: Mapping[str, MasterKey] = {}
        self.access_files: Mapping[str, str] = {}
        # Whether the ledger holds these settings as the newest ones, by this run's doing.
        self.config_recorded = False
        # What the record of this run's command says beside its own: see `note`.
        self.notes: dict[str, list[Mapping[str, Any]]] = {}  # Any: JSON values
        self._opened: dict[str, Repository] = {}
        self._guard = threading.Lock()

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        *,
        progress: Progress | None = None,
        say: Callable[[str], None] = _nobody,
    ) -> Application:
        """The application of a configuration file, or of the first one found; in a run of the
        schedule that of the text which the service has in force, whatever the file holds by now."""
        text = configuration_in_force()
        file = find_config(path) if text is None or path is None else path.absolute()
        text = read_config(file) if text is None else text
        settings = parse_settings(text, base=file.parent, subject=str(file))
        application = cls(settings, progress=progress, say=say)
        application.config_file, application.config_text = file, text
        return application

    @property
    def name(self) -> str:
        return self.settings.application

    # Sources

    def sources(self, names: Sequence[str] = ()) -> list[Source]:
        """The named sources, or all, in capture order; ConfigError `usage` for an unknown name."""
        from strongroom.service.wiring import build_source

        self._check("source", names, self.settings.sources)
        declared = {
            name: body for name, body in self.settings.sources.items() if not names or name in names
        }
        ordered = sorted(declared, key=lambda name: CAPTURE_ORDER.index(declared[name].kind))
        return [
            build_source(name, declared[name], self.settings, deep=self.deep) for name in ordered
        ]

    def source(self, name: str) -> Source:
        """One source by name."""
        return self.sources([name])[0]

    # Repositories

    def repository(self, name: str, *, present: bool = False) -> Repository:
        """One repository, opened; as it is now when `present`, whatever `store_as_of` says."""
        self._check("repository", [name], self.settings.repositories)
        with self._guard:
            known = self._opened.get(name)
        if known is not None:
            return known
        declared = self.settings.repositories[name]
        LOG.debug("opening repository %s at %s", name, declared.location)
        opened = self._open(name, declared, as_of=None if present else self.store_as_of)
        with self._guard:
            return self._opened.setdefault(name, opened)

    def _open(
        self, name: str, declared: RepositorySettings, *, as_of: datetime | None
    ) -> Repository:
        from strongroom.repository import Repository, decode_master_key

        storage = self.storage(name, as_of=as_of)
        if name in self.master_keys:
            return _by_kit(storage, self.master_keys[name], name)
        if declared.password is not None:
            return Repository.open(storage, resolve_secret(declared.password), name=name)
        assert declared.master_key is not None, "the configuration has one of both"
        setting = f"repositories.{name}.master_key"
        try:
            key = decode_master_key(resolve_secret(declared.master_key), setting)
        except IntegrityError:
            raise ConfigError(
                "what it leads to is no master key",
                subject=setting,
                code="secret-unavailable",
                hint="Name the file that `strongroom key export` wrote.",
            ) from None
        return Repository.open_by_master_key(storage, key, name=name)

    def storage(self, name: str, *, as_of: datetime | None = None) -> Storage:
        """The store of a declared repository, or its past; nothing is connected yet."""
        from strongroom.repository import open_storage
        from strongroom.repository.storage import DEFAULT_PATIENCE, Access, Limits

        declared = self.settings.repositories[name]
        # References lead to secrets, paths and plain words stay what they are.
        values = {
            key: resolve_secret(one)
            if isinstance(one, str) and is_reference(one)
            else self.access_files.get(str(one), str(one))
            for key, one in declared.access.model_dump().items()
            if one is not None
        }
        engine = self.settings.engine
        return open_storage(
            declared.location,
            Access(**values),
            limits=Limits(
                upload=self.limit_upload or engine.limit_upload,
                download=self.limit_download or engine.limit_download,
            ),
            patience=self.patience or DEFAULT_PATIENCE,
            object_lock=_object_lock(declared),
            as_of=as_of,
        )

    def close(self) -> None:
        """Give the connections of all stores back."""
        with self._guard:
            opened = list(self._opened.values())
            self._opened.clear()
        for repository in opened:
            repository.storage.close()

    def reachable(
        self, names: Sequence[str] = ()
    ) -> tuple[list[Repository], dict[str, StrongroomError]]:
        """The named repositories, or all, that open, in their order, and why the others don't.

        Once one is open, the others are waited for a little only. Raises the first error when none
        opens.
        """
        from strongroom.repository import Repository

        self._check("repository", names, self.settings.repositories)
        wanted = [name for name in self.settings.repositories if not names or name in names]
        done: dict[str, Repository | BaseException] = {}
        changed = threading.Condition()

        def open_one(name: str) -> None:
            result: Repository | BaseException
            try:
                result = self.repository(name)
            except BaseException as error:
                result = error
            with changed:
                done[name] = result
                changed.notify_all()

        # Not a pool: nobody waits at the end for a store that does not answer.
        for name in wanted:
            threading.Thread(target=open_one, args=(name,), name="open", daemon=True).start()
        with changed:
            changed.wait_for(
                lambda: (
                    len(done) == len(wanted)
                    or any(isinstance(one, Repository) for one in done.values())
                )
            )
            changed.wait_for(lambda: len(done) == len(wanted), timeout=_OPEN_GRACE_SECONDS)
            known = dict(done)
        opened: list[Repository] = []
        failed: dict[str, StrongroomError] = {}
        for name in wanted:
            match known.get(name, _silent(name)):
                case Repository() as repository:
                    opened.append(repository)
                case StrongroomError() as error:
                    failed[name] = error
                case bug:
                    raise bug
        if not opened:
            raise next(iter(failed.values()))
        return opened, failed

    def writer_options(self) -> WriterOptions:
        """The bounds of the engine that the settings allow."""
        from strongroom.repository import WriterOptions

        engine = self.settings.engine
        return WriterOptions(
            workers=engine.worker_count,
            # An eighth waits in the queue; packs, batches and compressors take the rest.
            queue_bytes=engine.memory // 8,
            pack_bytes=engine.pack_size,
            compression=engine.compression,
        )

    # Records

    @property
    def state(self) -> Path:
        """The folder of this program's own records on this host."""
        if self.state_folder is not None:
            return self.state_folder
        if is_reference(self.settings.state):
            return self.settings.state_folder or Path(default_state())
        return Path(self.settings.state)

    @property
    def state_database(self) -> str | None:
        """The URL of the database that a fleet has in common, a secret; None without a fleet.
        ConfigError when it can't be had."""
        given = self.settings.state
        return resolve_secret(given) if is_reference(given) else None

    @property
    def ledger(self) -> Ledger:
        """The evidence ledger; nothing is created before its first record."""
        return Ledger(self.state / LEDGER_NAME, self.clock)

    def record(self, kind: str, fields: Mapping[str, Any]) -> Entry | Finding:  # Any: JSON values
        """Write to the ledger; a finding when that fails, since what was done stays done."""
        try:
            return self.must_record(kind, fields)
        except StrongroomError as error:
            return finding("evidence-unrecorded", error.subject or "ledger", error.message)

    def must_record(self, kind: str, fields: Mapping[str, Any]) -> Entry:  # Any: JSON values
        """Write to the ledger what holds only when it stands there; raises when that fails."""
        entry = self.must_record_if(kind, lambda: fields)
        assert entry is not None, "there are fields"
        return entry

    def must_record_if(
        self,
        kind: str,
        decide: Callable[[], Mapping[str, Any] | None],  # Any: JSON values
    ) -> Entry | None:
        """Write what `decide` gives while nobody else writes, unless it gives None."""
        from strongroom.service.actor import actor

        make_private(self.state)
        of_past = {}
        if self.store_as_of is not None:
            of_past["store_as_of"] = time_json(self.store_as_of)
        of_run = {"application": self.name, "run": self.run, "by": actor()}

        def whole() -> Mapping[str, Any] | None:  # Any: JSON values
            fields = decide()
            return None if fields is None else {**of_run, **fields, **of_past}

        return self.ledger.append_if(kind, whole)

    def note(self, what: str, fields: Mapping[str, Any]) -> None:  # Any: JSON values
        """Keep for the record of this run's command what was `read` or `given`."""
        self.notes.setdefault(what, []).append(fields)

    @property
    def ledger_was_removed(self) -> bool:
        """Whether there is no ledger any more, though something was recorded here."""
        return self.ledger.was_removed

    def sandbox_folder(self) -> Path:
        """Where drills put what they restore; made on demand."""
        return make_private(self.state / "sandbox")

    @staticmethod
    def _check(kind: str, names: Iterable[str], known: Mapping[str, object]) -> None:
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"there is no {kind} of this name",
                    subject=name,
                    code="usage",
                    hint=f"Choose from: {', '.join(known)}.",
                )


def trace_errors(
    what: str, errors: Sequence[tuple[str, StrongroomError]], *, besides: StrongroomError | None
) -> None:
    """Errors that do not end the run, each with its name, for --verbose; `besides` is the one that
    does, which is traced where it ends."""
    for name, error in errors:
        if error is not besides:
            LOG.debug("%s %s failed", what, name, exc_info=error)


def _by_kit(storage: Storage, key: MasterKey, name: str) -> Repository:
    """StorageError `kit-mismatch` when the kit's key is another repository's."""
    from strongroom.repository import Repository

    try:
        return Repository.open_by_master_key(storage, key, name=name)
    except StorageError as error:
        if error.code != "wrong-password":
            raise
        raise StorageError(
            "the master key in the kit does not open it: it was made anew since, or this is the "
            "kit of another one",
            subject=storage.location,
            code="kit-mismatch",
        ) from error


def _object_lock(declared: RepositorySettings) -> ObjectLock | None:
    from strongroom.repository.storage import LockMode, ObjectLock

    if declared.object_lock is None:
        return None
    return ObjectLock(declared.object_lock, LockMode(declared.object_lock_mode or "governance"))


def make_private(folder: Path) -> Path:
    """The folder, made when missing. Others may pass through, to a sandbox that runs as another
    user, and may not list it; files in it have modes of their own."""
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be made: {error.strerror}",
            subject=str(folder),
            hint="Correct `state:`, or let this user write there.",
        ) from error
    return folder
