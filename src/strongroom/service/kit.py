"""The recovery kit: made, opened, and put in the place of a configuration.

See docs/decisions/0020-recovery-kit.md. Invariants: the ledger tells of every kit that was begun
before its file is there, and that it was made once file and page are; no secret of it goes anywhere
but into the sealed file, and out of that into files that nobody but their owner may read (I6).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from strongroom import __version__
from strongroom.config import kept, parse_settings, read_secret
from strongroom.config.escrow import lacking
from strongroom.config.kit_settings import Kit as KitSettings
from strongroom.config.value import location_scheme
from strongroom.errors import EXIT_FINE, EXIT_PARTIAL, ConfigError, IntegrityError, TargetError
from strongroom.evidence import Entry
from strongroom.model import Finding, Progress, Severity, Silent, finding
from strongroom.report.kit_page import KitPage, PageRepository, page_text
from strongroom.report.kit_pdf import page_pdf
from strongroom.report.wording import clock, count
from strongroom.repository.crypto import decode_master_key, encode_master_key
from strongroom.service.application import Application
from strongroom.service.escrow import Digester, held_files, held_references, sections_of
from strongroom.service.kit_archive import RUNBOOK, Kit, KitRepository, pack, unpack
from strongroom.service.kit_codes import MOST_CODES, codes_of, is_codes, joined, most_bytes
from strongroom.service.kit_seal import (
    Opener,
    Seal,
    asks_for_passphrase,
    checked_passphrase,
    open_sealed,
)
from strongroom.service.masking import masked_reference
from strongroom.service.rendering import time_json

__all__ = [
    "KitReport",
    "OpenedKit",
    "application_of",
    "configured",
    "create_kit",
    "file_prefix",
    "newest_file",
    "open_kit",
    "opened",
    "opens_by_passphrase",
    "read_sealed",
    "write_out",
]

RECORD: Final = "kit"
# No kit yet: only that a file with this digest may be somewhere.
BEGUN: Final = "kit-begun"
# What stock restic calls the settings of a store's access.
_VARIABLES: Final = {
    ("s3", "access_key"): "AWS_ACCESS_KEY_ID",
    ("s3", "secret_key"): "AWS_SECRET_ACCESS_KEY",
    ("s3", "session_token"): "AWS_SESSION_TOKEN",
    ("rest", "user"): "RESTIC_REST_USERNAME",
    ("rest", "password"): "RESTIC_REST_PASSWORD",
}
_SIZE_LIMIT_BYTES: Final = 16 << 20
# Where no file ever is.
_NOWHERE: Final = "/dev/null/not-in-the-kit"


@dataclass(frozen=True, slots=True)
class KitReport:
    """A kit that was made: its file and its page, and what is to be said of it."""

    kit: Kit
    file: Path
    page: Path
    size_bytes: int
    digest: str
    codes: int
    sealed_for: tuple[str, ...]
    findings: tuple[Finding, ...]
    evidence: Entry | None = None

    @property
    def exit_status(self) -> int:
        failed = any(one.severity is Severity.FAILURE for one in self.findings)
        return EXIT_PARTIAL if failed else EXIT_FINE

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "kit": self.kit.id,
            "file": str(self.file),
            "page": str(self.page),
            "bytes": self.size_bytes,
            "sha256": self.digest,
            "codes": self.codes,
            "sealed_for": list(self.sealed_for),
            **contents_json(self.kit),
            "findings": [one.as_json() for one in self.findings],
        }


@dataclass(frozen=True, slots=True)
class OpenedKit:
    """A kit that opened, its file, and the SHA-256 of that."""

    kit: Kit
    file: Path
    digest: str

    def as_json(self) -> dict[str, Any]:  # Any: JSON values
        kit = self.kit
        return {
            "kit": kit.id,
            "application": kit.application,
            "made_at": time_json(kit.made_at),
            "made_on": kit.host,
            "program": kit.program,
            "sha256": self.digest,
            **contents_json(kit),
            "files": [
                {"name": name, "bytes": len(content), "what": what}
                for name, content, what in shown_members(kit)
            ],
        }


def contents_json(kit: Kit) -> dict[str, Any]:  # Any: JSON values
    """What a kit holds, without any of it."""
    return {
        "repositories": [
            {"repository": one.name, "location": one.location, "id": one.id}
            for one in kit.repositories
        ],
        "secrets": [masked_reference(one) for one in kit.secrets],
        "credentials": kit.credentials,
    }


def shown_members(kit: Kit) -> Iterator[tuple[str, bytes, str]]:
    """The files of a kit with what they are, in words that may be shown."""
    for name, content, what in kit.members():
        shown = masked_reference(what) if name.startswith("secrets/") else what
        yield name, content, shown


# Making


def create_kit(
    application: Application, output: Path, seal: Seal, *, credentials: bool = False
) -> KitReport:
    """Make a kit and its page in a folder, which is made when it is missing.

    ConfigError `secret-unavailable` when something that it is to hold can't be had, StorageError
    when a repository does not open: a kit holds everything or is not made.
    """
    settings = application.settings
    credentials = credentials or configured(application).credentials
    if seal.passphrase:
        checked_passphrase(seal.passphrase)
    kit = _collect(application, credentials=credentials)
    findings = [_lack(one.setting, one.reference) for one in lacking(settings)]
    kit, page = _explained(application, kit, seal, findings)
    sealed = seal.seal(pack(kit))
    codes = codes_of(kit.id, sealed)
    if len(codes) > MOST_CODES:
        told = f"it would take {count(len(codes), 'code')}; {MOST_CODES} are the most"
        findings.append(finding("kit-without-codes", page.file, told))
        codes = ()
    digest = hashlib.sha256(sealed).hexdigest()
    printed = page_pdf(replace(page, digest=digest, codes=len(codes)), codes)
    folder = _folder(output)
    fields = _fields(application, kit, page.file, digest, len(codes), seal)
    fields["folder"] = str(folder.resolve())
    begun = {key: fields[key] for key in ("kit", "file", "sha256")}
    application.record(BEGUN, begun)  # where it fails, the record below does too, and tells
    file, paper = _write_both(folder, page.file, sealed, printed)
    # After: a kit that could not be written is none, and must not hide that the last one is old.
    recorded = application.record(RECORD, fields)
    if isinstance(recorded, Finding):
        findings.append(recorded)
    return KitReport(
        kit, file, paper, len(sealed), digest, len(codes), seal.sealed_for, tuple(findings),
        recorded if isinstance(recorded, Entry) else None,
    )  # fmt: skip


def _write_both(folder: Path, name: str, sealed: bytes, printed: bytes) -> tuple[Path, Path]:
    """Write a kit's file and its page, both or none; TargetError says which could not be."""
    file, paper = folder / name, folder / f"{Path(name).stem}.pdf"
    write_private(file, sealed)
    try:
        write_private(paper, printed)
    except TargetError as error:
        file.unlink(missing_ok=True)
        told = f"{error.message}; {file.name} was removed again, so no kit was made"
        raise TargetError(told, subject=error.subject, hint=error.hint) from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    _flush(folder)
    return file, paper


def _flush(folder: Path) -> None:
    """Let the names in a folder outlive a loss of power, where its file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def configured(application: Application) -> KitSettings:
    """The section `kit`; ConfigError `usage` when there is none."""
    settings = application.settings.kit
    if settings is None:
        raise ConfigError(
            "nothing says what is to be in it",
            subject="kit",
            code="usage",
            hint="Write a section `kit` with `escrow` into the configuration.",
        )
    return settings


def file_prefix(application: str) -> str:
    """What the names of an application's kits begin with."""
    return f"strongroom-kit-{application}-"


def newest_file(application: Application) -> Path:
    """The newest kit of the application in its configured folder; ConfigError `kit-missing`."""
    settings = application.settings.kit
    folder = settings.folder if settings is not None else None
    if folder is None:
        raise ConfigError(
            "no file is named, and `kit.folder` is not set",
            subject="kit",
            code="kit-missing",
            hint="Name the kit's file.",
        )
    # Their names tell their times; a name alone that begins so may be another application's.
    named = sorted(folder.glob(f"{file_prefix(application.name)}????????-??????.age"))
    if not named:
        raise ConfigError("it holds no kit of this application", subject=str(folder),
                          code="kit-missing")  # fmt: skip
    return named[-1]


def _collect(application: Application, *, credentials: bool) -> Kit:
    settings = application.settings
    assert application.config_text is not None, "it was loaded from a file"
    assert application.config_file is not None, "it was loaded from a file"
    repositories = []
    for name, declared in settings.repositories.items():
        repository = application.repository(name)
        key = encode_master_key(repository.key)
        repositories.append(
            KitRepository(name, declared.location, repository.id, key, declared.password)
        )
    references = held_references(settings, credentials=credentials)
    files = held_files(settings) if credentials else ()
    return Kit(
        secrets.token_hex(8),
        application.name,
        application.clock(),
        __version__,
        socket.gethostname(),
        str(Path.home()),
        str(application.config_file),
        application.config_text,
        tuple(repositories),
        {one: read_secret(one) for one in references},
        {one: read_secret(f"file:{one}") for one in files},
        credentials=credentials,
    )


def _explained(
    application: Application, kit: Kit, seal: Seal, findings: list[Finding]
) -> tuple[Kit, KitPage]:
    """The kit with its texts, and its page: the whole runbook is in it unless paper alone would not
    be enough then, or it can't be made, which never costs the kit."""
    from strongroom.report.kit_history import made
    from strongroom.report.kit_short import in_short
    from strongroom.service.runbook import runbook_of_kit

    page = _page(application, kit, seal)
    fields = _fields(application, kit, page.file, "", 0, seal)
    found = runbook_of_kit(application, lambda seq: made(seq, kit.made_at, fields))
    if isinstance(found, Finding):
        findings.append(found)
        return replace(kit, readme=page_text(page)), page
    ground, markdown = found
    files = {one: name for one in kit.secrets if (name := kit.secret_file(one)) is not None}

    def with_texts(runbook: str) -> tuple[Kit, KitPage]:
        short = in_short(ground, files, RUNBOOK if runbook else "")
        told = replace(page, reopening=short)
        return replace(kit, runbook=runbook, readme=page_text(told)), told

    whole, bare = with_texts(markdown), with_texts("")
    return bare if _fits_on_paper(bare[0]) and not _fits_on_paper(whole[0]) else whole


def _fits_on_paper(kit: Kit) -> bool:
    """Whether the codes of a kit will not be too many; a seal adds less than a code's worth."""
    return most_bytes(MOST_CODES - 1) >= len(pack(kit))


def _lack(setting: str, reference: str) -> Finding:
    told = f"{masked_reference(reference)} is not in `kit.escrow`, and a recovery needs it"
    return finding("kit-lacks", setting, told)


def _page(application: Application, kit: Kit, seal: Seal) -> KitPage:
    settings = application.settings
    zone = settings.schedule.time_zone
    repositories = tuple(
        PageRepository(
            one.name,
            one.location,
            kit.secret_file(one.password) if one.password is not None else None,
            tuple(_exports(application, kit, one.name)),
        )
        for one in kit.repositories
    )
    names = [masked_reference(one) for one in kit.secrets]
    held = [
        f"the configuration, {kit.config_file}",
        "the master keys of " + ", ".join(one.name for one in kit.repositories),
        *(f"the secret {name}" for name in names),
        *(f"the file {path}" for path in kit.files),
    ]
    file = f"{file_prefix(kit.application)}{kit.made_at:%Y%m%d-%H%M%S}.age"
    return KitPage(
        kit.application,
        kit.id,
        f"{clock(kit.made_at, zone)} {zone}",
        kit.program,
        file,
        seal.sealed_for,
        repositories,
        tuple((name, one.kind) for name, one in settings.sources.items()),
        tuple(held),
    )


def _exports(application: Application, kit: Kit, name: str) -> Iterator[str]:
    """What stock restic is to be told of a store besides its location."""
    declared = application.settings.repositories[name]
    scheme = location_scheme(declared.location)
    for key, given in declared.access.model_dump().items():
        variable = _VARIABLES.get((scheme, key))
        held = kit.secret_file(str(given)) if variable and given is not None else None
        if held is not None:
            yield f'export {variable}="$(cat kit/{held})"'
    if scheme == "s3" and declared.access.region:
        yield f"export AWS_DEFAULT_REGION={declared.access.region}"


def _fields(
    application: Application, kit: Kit, file: str, digest: str, codes: int, seal: Seal
) -> dict[str, Any]:  # Any: JSON values
    """What the ledger keeps: no value, and no digest that could be guessed from."""
    digester = Digester.make(application.state)
    return {
        "kit": kit.id,
        "file": file,
        "sha256": digest,
        "codes": codes,
        "sealed_for": list(seal.sealed_for),
        "credentials": kit.credentials,
        "repositories": [
            {"repository": one.name, "location": one.location, "id": one.id}
            for one in kit.repositories
        ],
        "escrow": [
            {
                "secret": masked_reference(reference),
                "id": digester.id_of(reference),
                "digest": digester.digest(reference, value),
            }
            for reference, value in kit.secrets.items()
        ],
        "sections": sections_of(application.settings),
    }


def _folder(output: Path) -> Path:
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"the folder cannot be made: {os.strerror(error.errno or 0)}", subject=str(output)
        ) from error
    return output


def write_private(place: Path, content: bytes) -> None:
    """A new file, for its owner alone, flushed; TargetError when it exists or can't be written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                place.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise TargetError(
            "it exists already", subject=str(place), hint="Choose another folder."
        ) from None
    except OSError as error:
        raise TargetError(
            f"cannot be written: {os.strerror(error.errno or 0)}", subject=str(place)
        ) from error


# Opening


def open_kit(file: Path, opener: Opener) -> OpenedKit:
    """The kit in a file: sealed, or the texts of its printed codes.

    ConfigError `kit-missing` without such a file, `kit-locked` when it does not open;
    IntegrityError `kit-damaged` when it is incomplete or none.
    """
    return opened(read_sealed(file), opener, file)


def opens_by_passphrase(file: Path) -> bool:
    """Whether a passphrase opens the kit in a file; raises as `open_kit`."""
    return asks_for_passphrase(read_sealed(file), str(file))


def read_sealed(file: Path) -> bytes:
    """The sealed content of a file, joined where it holds the texts of codes; raises as
    `open_kit`."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"it cannot be read: {error.strerror}", subject=str(file), code="kit-missing",
            hint="Name the kit's file.",
        ) from None  # fmt: skip
    if len(content) > _SIZE_LIMIT_BYTES:
        raise IntegrityError("larger than any kit", subject=str(file), code="kit-damaged")
    return joined(content, str(file)) if is_codes(content) else content


def opened(content: bytes, opener: Opener, file: Path) -> OpenedKit:
    """The kit in a sealed content that was read from a file; raises as `open_kit`."""
    kit = unpack(open_sealed(content, opener, str(file)), str(file))
    return OpenedKit(kit, file, hashlib.sha256(content).hexdigest())


def write_out(kit: Kit, output: Path) -> list[str]:
    """Write every file of a kit into a folder that is new or empty, each for its owner alone.

    Returns their names; TargetError when the folder holds something.
    """
    _folder(output)
    if any(output.iterdir()):
        raise TargetError("it is not empty", subject=str(output), code="target-not-empty")
    names = []
    for name, content, _ in kit.members():
        (output / name).parent.mkdir(mode=0o700, exist_ok=True)
        write_private(output / name, content)
        names.append(name)
    return names


# In the place of a configuration


@contextlib.contextmanager
def application_of(
    opened_kit: OpenedKit,
    *,
    alone: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[Application]:
    """The application of a kit: its configuration, with what it refers to, and its master keys in
    memory. Files that stores ask for are in a private folder meanwhile. With `alone`, secrets come
    from the kit and from nowhere else."""
    kit = opened_kit.kit
    base = Path(kit.config_file).parent
    with _home(kit.home):
        settings = parse_settings(kit.config_text, base=base, subject=f"{opened_kit.file}: kit")
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept(kit.secrets, alone=alone))
        application = (
            Application(settings, progress=progress or Silent())
            if say is None
            else Application(settings, progress=progress or Silent(), say=say)
        )
        if "state" not in settings.model_fields_set:
            application.state_folder = _own_state()
        application.config_file = Path(kit.config_file)
        application.config_text = kit.config_text
        application.master_keys = {
            one.name: decode_master_key(one.master_key, f"kit: master key of {one.name}")
            for one in kit.repositories
            if one.name in settings.repositories
        }
        placed = stack.enter_context(_placed(kit.files))
        if alone:
            placed = {one: f"{_NOWHERE}/{one}" for one in held_files(settings)} | placed
        application.access_files = placed
        yield application


def _own_state() -> Path:
    from strongroom.config.settings import default_state

    return Path(default_state())


@contextlib.contextmanager
def _home(home: str) -> Iterator[None]:
    """Where `~` leads is what it meant when the kit was made."""
    before = os.environ.get("HOME")
    os.environ["HOME"] = home
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before


@contextlib.contextmanager
def _placed(files: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Where the files of a kit lie meanwhile, by the paths that they had."""
    if not files:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="strongroom-kit-") as folder:
        found = {}
        for number, (path, content) in enumerate(files.items()):
            place = Path(folder) / f"{number}-{Path(path).name}"
            write_private(place, content)
            found[path] = str(place)
        yield found
