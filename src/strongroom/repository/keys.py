"""The key files of a repository: found, listed, added, removed, and exchanged for others.

Facts: REPOSITORY_FORMAT 1.3 (docs/FORMAT.md, "Keys"). Every key file seals the same master key
with a password of its own, so that a password changes without anything being encrypted anew. Who
has kept an old key file and its password, or the master key, still opens the repository.

Invariants: a new key file is read back from the store and opened before anything relies on it; the
key that opened the repository is not removed before that, nor is the last one ever. So after a
stop at any instant the old or the new password opens. What a key file says of itself is not
sealed: whoever can write to the store may have put it there.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from strongroom.errors import ConfigError, IntegrityError, StorageError
from strongroom.model import Finding
from strongroom.repository.crypto import KeyFile, MasterKey, decode_key_file, encode_key_file
from strongroom.repository.lock import username
from strongroom.repository.pack import BlobCodec
from strongroom.repository.snapshot import moment
from strongroom.repository.storage.protocol import Buffer, Storage
from strongroom.repository.tree import parse_time

if TYPE_CHECKING:
    from strongroom.repository.repository import Repository

# Each costs an scrypt; restic tries no more, either.
MOST_KEY_FILES: Final = 20
MOST_KEY_BYTES: Final = 64 << 10  # of a key file, and of the config
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key file as it lies in the store; `damage` says what is wrong with it, if anything.

    `in_use` marks the one that opened this repository. `created_at` is None when it isn't told.
    """

    id: str
    created_at: datetime | None
    username: str
    hostname: str
    in_use: bool
    damage: str = ""


@dataclass(slots=True)
class KeyReport:
    """The ids of what was added and removed; complete also when it was broken off."""

    added: str | None = None
    removed: str | None = None
    findings: list[Finding] = field(default_factory=list)


def find_key(storage: Storage, password: str, config: Buffer) -> tuple[str, MasterKey, bytes]:
    """The key file that the password opens, the master key in it, and what the config holds under
    its seal.

    StorageError `wrong-password` when none opens, IntegrityError `key-damaged` when that may be
    because one is damaged, or because there is none at all.
    """
    damaged: IntegrityError | None = None
    names: Sequence[str] = ()
    for _ in range(_ROUNDS):
        names, gone = _names(storage), False
        for name in names[:MOST_KEY_FILES]:
            try:
                key = _load(storage, name).open(password, name)
                if key is not None:
                    # Two that made the repository at once may have left a key each.
                    opened = BlobCodec(key).open(config, f"{storage.location}: config")
                    return _id_of(name), key, opened
            except IntegrityError as error:
                damaged = error
                continue
            except StorageError as error:
                if error.code != "store-missing":
                    raise
                gone = True  # exchanged for another one meanwhile, which is not in this listing
                continue
        if not gone:
            break
    if damaged is not None:
        raise damaged
    if not names:
        raise IntegrityError(
            "there is no key file, so no password opens this repository",
            subject=storage.location,
            code="key-damaged",
            hint="Restore the `keys` folder from a copy of the repository, or set `master_key` to "
            "what `strongroom key export` wrote.",
        )
    message = "no key opens with this password"
    if len(names) > MOST_KEY_FILES:
        message = f"none of the first {MOST_KEY_FILES} of {len(names)} keys opens with it"
    raise StorageError(message, subject=storage.location, code="wrong-password")


def left_key(storage: Storage, password: str) -> tuple[str, MasterKey] | None:
    """The key that an `init` left which was stopped before the config, if the password is the same.

    Half a key file, of a store that keeps such, is removed: stock restic stops at it.
    """
    for name in _names(storage):
        try:
            if (key := _load(storage, name).open(password, name)) is not None:
                return _id_of(name), key
        except IntegrityError:
            storage.delete(name)
    return None


def stored_keys(repository: Repository) -> list[StoredKey]:
    """All key files, the oldest first; those that are damaged say so."""
    found = []
    for name in _names(repository.storage):
        key_id = _id_of(name)
        in_use = key_id == repository.key_id
        try:
            file = _load(repository.storage, name)
        except IntegrityError as error:
            found.append(StoredKey(key_id, None, "", "", in_use, error.message))
        except StorageError as error:
            if error.code != "store-missing":  # else it was removed meanwhile
                raise
        else:
            created = _moment(file.created)
            found.append(StoredKey(key_id, created, file.username, file.hostname, in_use))
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(found, key=lambda one: (one.created_at or never, one.id))


def add_key(repository: Repository, password: str, *, report: KeyReport) -> None:
    """Let a further password open the repository."""
    with repository.locked(report.findings):
        report.added = _add(repository, password)


def remove_key(repository: Repository, beginning: str, *, report: KeyReport) -> None:
    """Remove the key whose id begins so: not the one that opened this repository, nor the last.

    ConfigError `usage` when it is one of these, or when none or several ids begin so.
    """
    with repository.locked(report.findings, exclusive=True) as lock:
        keys = stored_keys(repository)
        if repository.key_id is not None:
            _own_key(repository, keys)
        doomed = _only(keys, beginning)
        if doomed.in_use:
            raise ConfigError(
                "this is the key that opened the repository",
                subject=doomed.id[:8],
                code="usage",
                hint="Change its password with `strongroom key passwd`, or remove it when another "
                "one is configured.",
            )
        if not any(one.id != doomed.id and not one.damage for one in keys):
            raise ConfigError(
                "this is the last key: without it no password opens the repository",
                subject=doomed.id[:8],
                code="usage",
                hint="Add another one first, with `strongroom key add`.",
            )
        lock.confirm()
        repository.storage.delete(_name_of(doomed.id))
        report.removed = doomed.id


def change_password(repository: Repository, password: str, *, report: KeyReport) -> None:
    """Put a key with this password in the place of the one that opened the repository.

    StorageError `wrong-password` when that one is gone: somebody else was faster. ConfigError
    `usage` when it was opened by its master key.
    """
    with repository.locked(report.findings, exclusive=True) as lock:
        old = _own_key(repository, stored_keys(repository))
        report.added = _add(repository, password)
        lock.confirm()
        try:
            repository.storage.delete(_name_of(old))
        except StorageError as error:
            raise StorageError(
                f"the new password opens, and so does the old one, whose key could not be removed: "
                f"{error.message}",
                subject=repository.name,
                code=error.code,
                hint=f"Use the new one, then `strongroom key remove {repository.name} {old[:8]}`.",
            ) from error
        report.removed, repository.key_id = old, report.added


def _add(repository: Repository, password: str) -> str:
    """Store a key file and prove that it opens; what cannot be proven is taken back."""
    _refuse_more(repository, MOST_KEY_FILES - 1)
    content = encode_key_file(repository.key, password, username(), socket.gethostname())
    key_id = hashlib.sha256(content).hexdigest()
    name = _name_of(key_id)
    try:
        repository.storage.save(name, content)
        if _load(repository.storage, name).open(password, name) != repository.key:
            raise IntegrityError(
                "the new key does not open", subject=repository.name, code="verification-failed"
            )
        _refuse_more(repository, MOST_KEY_FILES)  # others may add one at the same time
    except BaseException:
        with contextlib.suppress(StorageError):
            repository.storage.delete(name)
        raise
    return key_id


def _refuse_more(repository: Repository, limit: int) -> None:
    count = len(_names(repository.storage))
    if count > limit:
        raise ConfigError(
            f"there are {count} keys, and no program tries more than {MOST_KEY_FILES}",
            subject=repository.name,
            code="usage",
            hint="Remove one first: `strongroom key list`, then `strongroom key remove`.",
        )


def _own_key(repository: Repository, keys: Sequence[StoredKey]) -> str:
    """The id of the key that opened the repository, which must be there still."""
    if repository.key_id is None:
        raise ConfigError(
            "it was opened by its master key, so there is no password to change",
            subject=repository.name,
            code="usage",
            hint="Give it one with `strongroom key add`.",
        )
    if not any(one.in_use for one in keys):
        raise StorageError(
            "the key that opened it has been removed since: somebody changed the password",
            subject=repository.name,
            code="wrong-password",
        )
    return repository.key_id


def _only(keys: Sequence[StoredKey], beginning: str) -> StoredKey:
    found = [one for one in keys if beginning and one.id.startswith(beginning.lower())]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(one.id[:12] for one in (found or keys)[:5])
    raise ConfigError(
        f"several keys have ids that begin so ({listed})" if found else "no key has this id",
        subject=beginning,
        code="usage",
        hint="Give more digits of the id." if found else f"Choose from: {listed}.",
    )


def _names(storage: Storage) -> list[str]:
    return sorted(file.name for file in storage.list("keys"))


def _name_of(key_id: str) -> str:
    return f"keys/{key_id}"


def _id_of(name: str) -> str:
    return name.rpartition("/")[2]


def _load(storage: Storage, name: str) -> KeyFile:
    if storage.size(name) > MOST_KEY_BYTES:
        raise IntegrityError("too large to be a key", subject=name, code="key-damaged")
    content = storage.load(name)
    if hashlib.sha256(content).hexdigest() != _id_of(name):
        raise IntegrityError(
            "the bytes are not those of its name", subject=name, code="key-damaged"
        )
    return decode_key_file(content, name)


def _moment(text: str) -> datetime | None:
    try:
        return moment(parse_time(text))
    except (ValueError, OverflowError):
        return None
