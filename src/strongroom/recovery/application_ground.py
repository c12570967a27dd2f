"""What a restored application needs around it in its sandbox: folders, settings, logs.

Everything lies below one folder, `application/` beside what was restored. Names that come out of a
restored tree are never trusted: nothing is written through a link that leads out of it, and
nothing but plain files is read back.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from strongroom.config import resolve_secret
from strongroom.config.application_check import ApplicationCheck
from strongroom.config.placeholder import SECRET, fill_in
from strongroom.config.value import is_reference
from strongroom.confinement.enclosure import Enclosure
from strongroom.postgres.connection import Connection
from strongroom.recovery.application_files import (
    link_folders,
    read_templates,
    render_files,
    secrets_of,
)

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SENDMAILS: Final = ("/usr/sbin/sendmail", "/usr/lib/sendmail")
_SENDMAIL: Final = "#!/bin/sh\ncat >/dev/null\necho mail >>{count}\n"
# PHP's own places lie outside of the sandbox, where nothing can be written.
_PHP: Final = """\
sendmail_path = "{sendmail} -t -i"
session.save_path = "{tmp}"
sys_temp_dir = "{tmp}"
upload_tmp_dir = "{tmp}"
log_errors = On
error_log =
"""
_MOST_LOG_BYTES: Final = 64 << 20
MARK: Final = "STRONGROOM_SANDBOX"
"""The variable by which `doctor --clean` knows what a killed drill left running."""


@dataclass(frozen=True, slots=True)
class Whom:
    """As whom the application runs: ids, or None for who we are."""

    user: int | None = None
    group: int | None = None

    def give(self, place: Path) -> None:
        """Make this user the owner of a folder and all that it holds."""
        if self.user is None or self.group is None:
            return
        os.chown(place, self.user, self.group)
        for folder, folders, files in os.walk(place):
            for name in (*folders, *files):
                os.chown(Path(folder, name), self.user, self.group, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The values of secrets by placeholder, the environment's own, and what templates hold."""

    named: Mapping[str, str]
    environment: Mapping[str, str]
    in_templates: Sequence[str] = ()

    def values(self) -> list[str]:
        """All that must not be repeated."""
        return [*self.named.values(), *self.environment.values(), *self.in_templates]


def resolve_all(check: ApplicationCheck) -> Secrets:
    """Every secret of the section; ConfigError `secret-unavailable` for one that isn't there."""
    return Secrets(
        {f"{SECRET}{name}": resolve_secret(one) for name, one in check.secrets.items()},
        {name: resolve_secret(one) for name, one in check.environment.items() if is_reference(one)},
        secrets_of(check.render),
    )


class Ground:
    """The application's folders. `folder` is the whole sandbox, `code` the restored code."""

    def __init__(self, folder: Path, code: Path, whom: Whom) -> None:
        self.folder = folder
        self.code = code
        self._own = folder / "application"
        self.home = self._own / "home"
        self.tmp = self._own / "tmp"
        self._mail = self._own / "mail"
        self._programs = self._own / "bin"
        self._php = self._own / "php.d"
        self._logs = self._own / "log"
        self.output = self._logs / "output"
        self._before: dict[Path, int] = {}
        self._own.mkdir(mode=0o711)
        for place in (self.home, self.tmp, self._mail):
            place.mkdir(mode=0o700)
            whom.give(place)
        for place in (self._programs, self._php, self._logs):
            place.mkdir(mode=0o755)
        self._write_own_files()

    def _write_own_files(self) -> None:
        sendmail = self._programs / "sendmail"
        sendmail.write_text(_SENDMAIL.format(count=shlex.quote(str(self._mail / "count"))))
        sendmail.chmod(0o755)
        ini = self._php / "strongroom.ini"
        ini.write_text(_PHP.format(sendmail=sendmail, tmp=self.tmp))
        ini.chmod(0o644)

    @property
    def writable(self) -> list[Path]:
        """Where something may be written, besides what was restored."""
        return [self.home, self.tmp, self._mail, self._logs]

    @property
    def replaced(self) -> dict[Path, Path]:
        """Files of the host that the sandbox has others for."""
        return {Path(one): self._programs / "sendmail" for one in _SENDMAILS}

    # Settings

    def environment(
        self, check: ApplicationCheck, values: Mapping[str, str], secrets: Secrets
    ) -> dict[str, str]:
        """All of the application's environment: ours, and on top of it what is configured."""
        mail, port, sink = values["mail.host"], values["mail.port"], values["sink.url"]
        own = {
            "PATH": f"{self._programs}:{_PATH}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.tmp),
            "PHP_INI_SCAN_DIR": f":{self._php}",
            "MAIL_HOST": mail,
            "MAIL_PORT": port,
            "SMTP_HOST": mail,
            "SMTP_PORT": port,
            "MAILER_DSN": f"smtp://{mail}:{port}",
            "WEBHOOK_URL": f"{sink}/webhook",
            "QUEUE_URL": f"{sink}/queue",
        }
        given = {
            name: secrets.environment.get(name) or fill_in(text, values)
            for name, text in check.environment.items()
        }
        return own | given | {MARK: str(self.folder)}

    def render(self, check: ApplicationCheck, values: Mapping[str, str], whom: Whom) -> None:
        """Write the files that are made from templates; they may hold secrets."""
        owner = None
        if whom.user is not None and whom.group is not None:
            owner = (whom.user, whom.group)
        render_files(self.code, read_templates(check.render), values, owner)

    def link(self, check: ApplicationCheck, folders: Mapping[str, Path]) -> None:
        """Let places in the code lead to the folders of restored sources."""
        link_folders(self.code, check.links, folders)

    # Logs

    def remember_logs(self, check: ApplicationCheck) -> None:
        """How long log files are that were restored: what stands in them is old."""
        self._before = dict(self._log_files(check))

    def log_lines(self, check: ApplicationCheck) -> Iterator[str]:
        """What the application has written: its output, then its log files."""
        yield from lines_of(self.output, 0)
        for place, size in self._log_files(check):
            before = self._before.get(place, 0)
            yield from lines_of(place, before if before <= size else 0)

    def last_words(self) -> str:
        """The last line of the application's output that isn't empty."""
        lines = [line for line in lines_of(self.output, 0) if line.strip()]
        return lines[-1].strip() if lines else ""

    def mails(self) -> int:
        """How many mails were handed to what stands in for sendmail."""
        return sum(1 for _ in lines_of(self._mail / "count", 0))

    def _log_files(self, check: ApplicationCheck) -> Iterator[tuple[Path, int]]:
        root = self.code.resolve()
        for pattern in check.logs.files:
            for place in sorted(self.code.glob(pattern)):
                status = place.lstat()
                inside = place.parent.resolve().is_relative_to(root)
                if inside and stat.S_ISREG(status.st_mode):
                    yield place, status.st_size


def values_for(
    enclosure: Enclosure,
    ground: Ground,
    folders: Mapping[str, Path],
    database: Connection | None,
    secrets: Secrets,
) -> dict[str, str]:
    """What every placeholder stands for."""
    host = "127.0.0.1"
    values = {name: str(place) for name, place in folders.items()} | {
        "port": str(enclosure.port),
        "home": str(ground.home),
        "mail.host": host,
        "mail.port": str(enclosure.mail_port),
        "sink.host": host,
        "sink.port": str(enclosure.web_port),
        "sink.url": f"http://{host}:{enclosure.web_port}",
        **secrets.named,
    }
    return values if database is None else values | _database_values(database)


def _database_values(database: Connection) -> dict[str, str]:
    # Whatever password is given, the sandbox's server asks for none.
    user, password, host, port = database.user, "sandbox", database.host, database.port
    query = urlencode({"host": host, "port": port}, quote_via=quote)
    name = quote(database.database, safe="")
    return {
        "database.host": host,
        "database.port": port,
        "database.name": database.database,
        "database.user": user,
        "database.password": password,
        "database.url": f"postgresql://{quote(user, safe='')}:{password}@/{name}?{query}",
        "database.dsn": f"pgsql:host={host};port={port};dbname={database.database}",
    }


def lines_of(place: Path, begin: int) -> Iterator[str]:
    """The lines of a plain file from a position on; nothing when it is none."""
    try:
        # Without waiting: what was put there instead may be a pipe.
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        file.seek(begin)
        content = file.read(_MOST_LOG_BYTES)
    yield from content.decode(errors="replace").splitlines()
