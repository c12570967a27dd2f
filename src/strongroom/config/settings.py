"""The declaration: every setting once, with its type, default, example and meaning.

Loading, `config check`, the commented sample, docs/CONFIG.md, the JSON Schema and `config explain`
all come from these models, so that no setting can exist undocumented. What can be checked within
one value is checked here; what relates two places is checked in `relation`. Unknown settings are
refused. No secret is held: only references to where secrets are kept (invariant I6).
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator

from strongroom.config.application_check import ApplicationCheck
from strongroom.config.kit_settings import Kit
from strongroom.config.operation import (
    Alert,
    Contact,
    Monitoring,
    Review,
    ScheduleSettings,
)
from strongroom.config.recovery_settings import Recovery
from strongroom.config.runbook_settings import RunbookSettings
from strongroom.config.scalar import (
    AbsolutePath,
    AnswerExpectation,
    DatabaseUrl,
    Duration,
    Expectation,
    InsidePath,
    Location,
    Name,
    Question,
    ScheduleOrNever,
    Secret,
    ShareOrSize,
    Size,
    State,
)
from strongroom.config.section import Section, setting

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


# --- Sources -------------------------------------------------------------------------------


class PostgresSource(Section):
    """A PostgreSQL database."""

    kind: Literal["postgres"] = setting("What is protected: a PostgreSQL database.")
    url: DatabaseUrl = setting(
        "The database: a reference, or a URL without a password.", examples=["env:DATABASE_URL"]
    )
    capture: ScheduleOrNever | None = setting(
        "When to capture this source alone, besides `schedule.capture`, which captures all"
        " together; with never it is left out there.",
        default=None,
        examples=["0 * * * *"],
    )
    jobs: int = setting(
        "How many tables are copied at the same time; one connection each.", default=2, ge=1, le=32
    )
    exclude_tables: tuple[str, ...] = setting(
        "Tables whose rows are not captured, as schema.table with * and ?; their definitions are."
        " A partitioned table stands for its partitions.",
        default=(),
    )
    programs: AbsolutePath | None = setting(
        "Folder of pg_dump, psql and pg_restore, when the ones found by themselves don't fit.",
        default=None,
        examples=["/usr/lib/postgresql/15/bin"],
    )
    lock_timeout: Duration = setting(
        "How long the capture waits for a table that is being altered.",
        default=timedelta(seconds=30),
    )
    elsewhere: tuple[str, ...] = setting(
        "What lies outside of the database and is looked after elsewhere, so that a proof does not"
        " call it unknown: kinds and names of the manifest's coverage, with * and ?.",
        default=(),
        examples=[["foreign table public.prices", "bucket objects *"]],
    )


class FilesSource(Section):
    """A folder of files."""

    kind: Literal["files"] = setting("What is protected: a folder of files.")
    path: AbsolutePath = setting("The folder.", examples=["/srv/tms/uploads"])
    capture: ScheduleOrNever | None = setting(
        "When to capture this source alone, besides `schedule.capture`, which captures all"
        " together; with never it is left out there.",
        default=None,
        examples=["0 * * * *"],
    )
    exclude: tuple[str, ...] = setting(
        "What is left out, as patterns of a .gitignore file.", default=(), examples=[["*.tmp"]]
    )
    required: tuple[InsidePath, ...] = setting(
        "Folders in it that must exist; a missing one is a finding.",
        default=(),
        examples=[["lpos"]],
    )
    one_file_system: bool = setting("Don't cross into other file systems.", default=False)


class GitSource(Section):
    """A Git checkout with its repository."""

    kind: Literal["git"] = setting("What is protected: a Git checkout with its history.")
    path: AbsolutePath = setting("The checkout.", examples=["/srv/tms/app"])
    capture: ScheduleOrNever | None = setting(
        "When to capture this source alone, besides `schedule.capture`, which captures all"
        " together; with never it is left out there.",
        default=None,
        examples=["0 * * * *"],
    )
    untracked: tuple[str, ...] = setting(
        "Files outside of Git that belong to the application, as patterns of a .gitignore file.",
        default=(),
        examples=[[".htaccess", "config/*.php"]],
    )
    allow_secrets: tuple[str, ...] = setting(
        "Files, by exact name, that are captured although they look like secrets.", default=()
    )


Source = Annotated[PostgresSource | FilesSource | GitSource, Field(discriminator="kind")]


# --- Repositories and the engine -----------------------------------------------------------


class StoreAccess(Section):
    """How a store lets us in. What is left out is looked for where the store's own tools keep it:
    AWS_ACCESS_KEY_ID and ~/.aws for S3, keys, agent and ~/.ssh/config for SFTP."""

    access_key: Secret | None = setting("S3: the access key's id.", default=None)
    secret_key: Secret | None = setting("S3: the secret access key.", default=None)
    session_token: Secret | None = setting("S3: the token of a temporary key.", default=None)
    region: str | None = setting(
        "S3: the bucket's region.", default=None, examples=["eu-central-1"]
    )
    profile: str | None = setting("S3: a profile of ~/.aws.", default=None)
    user: Secret | None = setting("REST: the user's name.", default=None)
    password: Secret | None = setting("REST and SFTP: the password.", default=None)
    identity: AbsolutePath | None = setting(
        "SFTP: the private key's file.", default=None, examples=["/etc/strongroom/id_ed25519"]
    )
    known_hosts: AbsolutePath | None = setting("SFTP: the file of known hosts.", default=None)
    ca_file: AbsolutePath | None = setting(
        "S3 and REST: certificates of authorities that are trusted.", default=None
    )


class RepositorySettings(Section):
    """A restic-format store; it has a password or a master key (see `relation`)."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["password"]}, {"required": ["master_key"]}]}
    )

    location: Location = setting(
        "A path, s3:URL/BUCKET/PREFIX, sftp:USER@HOST:/PATH or rest:URL.",
        examples=[
            "/backup/tms",
            "s3:https://s3.example.com/tms-backup",
            "sftp:backup@vault.example.com:/srv/tms",
            "rest:https://backup.example.com/tms",
            "/media/rescued/tms",
        ],
    )
    password: Secret | None = setting(
        "Where the repository's password is kept; required, unless `master_key` is given.",
        default=None,
        examples=["file:/etc/strongroom/local.key", "env:OFFSITE_PASSWORD"],
    )
    master_key: Secret | None = setting(
        "Where the master key is kept that `strongroom key export` wrote: it opens a repository "
        "whose key files are lost, in the place of a password.",
        default=None,
        examples=["file:/media/safe/tms.master-key"],
    )
    access: StoreAccess = setting(
        "How the store lets us in.",
        factory=StoreAccess,
        examples=[
            {},
            {
                "access_key": "env:OFFSITE_KEY_ID",
                "secret_key": "env:OFFSITE_KEY",
                "session_token": "env:OFFSITE_TOKEN",
                "region": "eu-central-1",
                "profile": "backup",
                "ca_file": "/etc/strongroom/ca.pem",
            },
            {
                "identity": "/etc/strongroom/id_ed25519",
                "known_hosts": "/etc/strongroom/known_hosts",
            },
            {"user": "env:REST_USER", "password": "env:REST_PASSWORD"},
            {},
        ],
    )
    check: ScheduleOrNever | None = setting(
        "When to check this repository, in the place of `schedule.check`.",
        default=None,
        examples=["0 3 * * 6"],
    )
    check_amount: ShareOrSize | None = setting(
        "How much of it such a check reads, in the place of `schedule.check_amount`.",
        default=None,
        examples=["5%"],
    )
    object_lock: Duration | None = setting(
        "S3: how long each stored object is locked against removal; `strongroom prune` renews "
        "locks that are needed. Without it, the bucket's own default holds.",
        default=None,
        examples=[None, "30d", None, None],
    )
    object_lock_mode: Literal["governance", "compliance"] | None = setting(
        "S3: whether those who have that right may lift a lock (governance, which holds without "
        "this setting) or nobody may (compliance).",
        default=None,
        examples=[None, "compliance", None, None],
    )


class Engine(Section):
    """How much of the machine a capture may use."""

    workers: int | None = setting(
        "How many threads, and in large runs processes, read, compress and encrypt; without it, "
        "one per processor, at most four.",
        default=None,
        ge=1,
        le=64,
        examples=[2],
    )
    memory: Size = setting(
        "What may be under way in memory at once.", default=128 * 2**20, ge=64 * 2**20
    )
    pack_size: Size = setting(
        "Size at which a pack file is closed.",
        default=16 * 2**20,
        ge=4 * 2**20,
        le=128 * 2**20,
    )
    compression: Literal["fast", "default", "best"] = setting(
        "How hard zstd works on what shrinks: files at level 1, 3 or 9; rows at 1, 1 or 9.",
        default="default",
    )

    limit_upload: Size | None = setting(
        "Bytes a second to each store, at most.", default=None, ge=1024, examples=["10MiB"]
    )
    limit_download: Size | None = setting(
        "Bytes a second from each store, at most.", default=None, ge=1024, examples=["10MiB"]
    )

    @property
    def worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        return min(4, len(os.sched_getaffinity(0)))


# --- What is promised and when -------------------------------------------------------------


FOREVER: Final = "forever"


class Policy(Section):
    """What to keep. A snapshot stays when any rule wants it; spans count from the newest one."""

    forever: bool = setting("Keep everything. Written alone: `code: forever`.", default=False)
    last: int | None = setting("How many of the newest are kept.", default=None, ge=1)
    within: Duration | None = setting("Everything this recent is kept.", default=None)
    hourly: Duration | None = setting("For this long, one each hour is kept.", default=None)
    daily: Duration | None = setting("For this long, one each day is kept.", default=None)
    weekly: Duration | None = setting("For this long, one each week is kept.", default=None)
    monthly: Duration | None = setting("For this long, one each month is kept.", default=None)
    yearly: Duration | None = setting("For this long, one each year is kept.", default=None)
    tags: tuple[str, ...] = setting(
        "What has these tags is kept; several that must come together are joined by commas.",
        default=(),
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        rules = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"const": FOREVER}, rules]}

    @model_validator(mode="before")
    @classmethod
    def _read_word(cls, given: Any) -> Any:
        # Any: whatever stands in the file
        if given == FOREVER:
            return {"forever": True}
        if isinstance(given, str):
            raise ValueError("a policy is the word forever, or rules such as {daily: 30d}")
        return given

    @model_validator(mode="after")
    def _need_rule(self) -> Policy:
        rules = self.model_dump(exclude={"forever"}, exclude_none=True, exclude_defaults=True)
        if self.forever and rules:
            raise ValueError("forever leaves nothing for other rules to decide")
        if not self.forever and not rules:
            raise ValueError("a policy without a rule would keep nothing")
        return self


class Objectives(Section):
    """What the application's owner was promised; `report` compares it with evidence."""

    rpo: Duration = setting(
        "How much of the newest work may be lost: the age of the newest snapshot.",
        default=timedelta(hours=24),
    )
    rto: Duration = setting(
        "How long recovery may take; `drill --application` compares with it today.",
        default=timedelta(hours=4),
    )
    proof_age: Duration = setting("How old the newest proof may be.", default=timedelta(days=7))
    copies: int = setting("In how many repositories each snapshot must be.", default=2, ge=1)


# --- What a drill asks ---------------------------------------------------------------------


class Query(Section):
    """A question to a restored database and the answer that is wanted."""

    source: Name = setting("Which database.", examples=["database"])
    name: str = setting("What the query shows.", examples=["trainees exist"])
    sql: Question = setting(
        "One SELECT that gives one value; for `same` it may give rows, in any order.",
        examples=["SELECT count(*) FROM trainees"],
    )
    expect: AnswerExpectation = setting(
        "A comparison (> >= < <= = !=) such as > 0, a value, same (as at capture), or an age at"
        " capture such as younger than 26h.",
        examples=["> 0"],
    )


class Probe(Section):
    """A query run as one of the application's roles, to show what that role can see."""

    source: Name = setting("Which database.", examples=["database"])
    name: str | None = setting("What the probe shows.", default=None)
    role: str = setting("The role to become.", examples=["authenticated"])
    # Any: claims are whatever JSON the application's tokens carry
    claims: dict[str, Any] = setting(
        "The claims of the request's token, as `request.jwt.claims` has them.",
        factory=dict,
        examples=[{"sub": "42"}],
    )
    sql: Question = setting(
        "One SELECT; rows may come in any order.", examples=["SELECT id FROM enrolments"]
    )
    expect: Expectation = setting(
        "same (as at capture), denied, or what a query may expect of one value.", default="same"
    )


class FileReference(Section):
    """A column that names files: each must be in the snapshot of the files, as a drill of a
    recovery point shows."""

    source: Name = setting("Which database.", examples=["database"])
    sql: str = setting(
        "A SELECT whose first column holds paths, relative to the files' folder; columns called"
        " size (bytes), sha256 and md5 (hex digits) say what each file must be.",
        examples=["SELECT file_path, sha256 FROM documents"],
    )
    files: Name = setting("Which source holds the files.", examples=["uploads"])
    prefix: str = setting(
        "What each path begins with that is not of the files' folder, such as a URL; it is cut"
        " off.",
        default="",
        examples=["https://files.example.com/uploads/"],
    )


class RestoreSettings(Section):
    """What a restore wants of whoever gives the command."""

    reason: Literal["optional", "required"] = setting(
        "Whether `restore`, `recover` and `undelete --apply` want a reason for the ledger "
        "(`--reason`); without one it is recorded as not given, or with required refused.",
        default="optional",
    )


# --- The whole -----------------------------------------------------------------------------


def default_state() -> str:
    """The folder of this program's own records where nothing else is said."""
    if os.geteuid() == 0:
        return "/var/lib/strongroom"
    home = os.environ.get("XDG_STATE_HOME") or str(Path("~/.local/state").expanduser())
    return str(Path(home) / "strongroom")


# What `environment: development` means; production is what the models say.
DEVELOPMENT_DEFAULTS: Final[dict[str, dict[str, str]]] = {
    "objectives": {"rpo": "7d", "rto": "24h", "proof_age": "30d", "copies": "1"},
    "schedule": {
        "capture": "0 2 * * 0",
        "check": "0 5 * * 0",
        "drill": "0 6 1 * *",
        "verify_daily": "never",
    },
}

# The procedures' table: daily for 30 days, weekly for 90, code for ever.
DEFAULT_POLICIES: Final[dict[str, dict[str, str]]] = {
    "postgres": {"daily": "30d", "weekly": "90d"},
    "files": {"daily": "30d", "weekly": "90d"},
}


class Settings(Section):
    """The whole configuration, valid, with defaults filled in."""

    version: Literal[1] = setting("The format of this file.", examples=[1])
    application: str = setting(
        "The application's name; every snapshot carries it.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        examples=["training-management-system"],
    )
    environment: Literal["production", "development"] = setting(
        "Sets the defaults of objectives and schedule: daily for production, weekly for "
        "development.",
        default="production",
    )
    sources: dict[Name, Source] = setting("What is protected, by name.", min_length=1)
    repositories: dict[Name, RepositorySettings] = setting(
        "Where copies are kept, by name.", min_length=1
    )
    minimum_copies: int | None = setting(
        "In how many repositories a recovery point must be for a backup to count as a success; "
        "without it, in all.",
        default=None,
        ge=1,
        examples=[1],
    )
    engine: Engine = setting("How much of the machine to use.", factory=Engine)
    retention: dict[Name, Policy] = setting(
        "What to keep, by repository or by source; a source's policy goes before a repository's. "
        "Without one: code forever, all else daily for 30d and weekly for 90d.",
        factory=dict,
        examples=[{"local": {"daily": "30d"}, "code": "forever"}],
    )
    objectives: Objectives = setting("What is promised.", factory=Objectives)
    schedule: ScheduleSettings = setting("When things are done.", factory=ScheduleSettings)
    alerts: tuple[Alert, ...] = setting(
        "Whom to tell, in this order where one cannot be reached.", default=()
    )
    monitoring: Monitoring = setting("What others look at.", factory=Monitoring)
    contacts: tuple[Contact, ...] = setting("Who answers for what.", default=())
    review: Review = setting("The review of the procedures.", factory=Review)
    queries: tuple[Query, ...] = setting(
        "Questions that a drill asks a restored database.", default=()
    )
    probes: tuple[Probe, ...] = setting(
        "Questions asked as one of the application's roles. Without any, a drill counts what"
        " each role sees of tables with row security.",
        default=(),
    )
    references: tuple[FileReference, ...] = setting(
        "Columns of the database that name files.", default=()
    )
    application_check: ApplicationCheck | None = setting(
        "How `drill --application` starts the application and asks it.", default=None
    )
    restore: RestoreSettings = setting("What a restore wants.", factory=RestoreSettings)
    recovery: Recovery | None = setting(
        "How `recover` brings the whole application back on an empty machine.", default=None
    )
    kit: Kit | None = setting(
        "What a recovery needs besides the repositories, sealed: see `kit create`.", default=None
    )
    runbook: RunbookSettings = setting(
        "What you add to the recovery document that `runbook` writes.", factory=RunbookSettings
    )
    state: State = setting(
        "Where the program keeps its own records: a folder, or for a fleet a reference to the URL "
        "of the database that its hosts have in common. "
        "Without it /var/lib/strongroom for root, ~/.local/state/strongroom for others.",
        factory=default_state,
        examples=["/var/lib/strongroom", "env:STATE_DATABASE_URL"],
    )
    state_folder: AbsolutePath | None = setting(
        "Where this host's own records stay when `state` names a database. "
        "Without it /var/lib/strongroom for root, ~/.local/state/strongroom for others.",
        default=None,
        examples=["/var/lib/strongroom"],
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_environment(cls, given: Any) -> Any:
        # Any: whatever stands in the file
        if not isinstance(given, dict) or given.get("environment") != "development":
            return given
        filled = dict(given)
        for section, defaults in DEVELOPMENT_DEFAULTS.items():
            own = given.get(section)
            if own is None:
                filled[section] = dict(defaults)
            elif isinstance(own, dict):
                filled[section] = {**defaults, **own}
        return filled

    @property
    def copies_wanted(self) -> int:
        """In how many repositories a recovery point must be."""
        return self.minimum_copies or len(self.repositories)

    def policy(self, source: str, repository: str) -> Policy:
        """What to keep of `source` in `repository`."""
        for name in (source, repository):
            if name in self.retention:
                return self.retention[name]
        rules = DEFAULT_POLICIES.get(self.sources[source].kind, {"forever": True})
        return Policy.model_validate(rules)

    def source_policy_digest(self, source: str, repository: str) -> str:
        """16 hex digits that tell what is to be kept of `source` in `repository`."""
        return _digest(self.policy(source, repository).model_dump(mode="json"))

    def policy_digest(self, repository: str) -> str:
        """16 hex digits that tell what is to be kept of every source in `repository`."""
        return _digest(
            {name: self.policy(name, repository).model_dump(mode="json") for name in self.sources}
        )


def _digest(document: Any) -> str:
    # Any: JSON values
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
