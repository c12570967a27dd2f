"""Databases that nobody here wrote: others' schemas, captured, loaded, and drilled as PROVEN.

They are the corpus' healthy side where we can't choose what is in it. `Schema.build` fills an empty
database of a Debian PostgreSQL 15; what it takes comes from `tests.support.material`.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.corpus.model import Grounds, Scene, Seen, Way, ask, scene_of
from tests.e2e.command_line import make_place
from tests.support.failure_ground import execute, url_of
from tests.support.material import debian, installed, npm, wheel
from tests.support.repository_ground import new_repository

WORKER: Final = "corpus-real"
MAJOR: Final = 15
HERE: Final = Path(__file__).parent
CONFIG: Final = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: "@URL@", elsewhere: [@ELSEWHERE@]}
repositories:
  local: {location: store, password: file:key}
state: state
"""
_DEBIAN: Final = "Debian 12"


@dataclass(frozen=True)
class Target:
    """An empty database that is to be filled."""

    cluster: Cluster
    name: str

    def execute(self, statements: str) -> None:
        """As one transaction."""
        execute(self.cluster, self.name, statements)

    def script(self, text: str | bytes, *arguments: str) -> None:
        """Through psql, which must find nothing wrong."""
        done = subprocess.run(
            [self.cluster.programs.path("psql"), "-Xq", "-v", "ON_ERROR_STOP=1",
             "-o", "/dev/null", *arguments],
            env=self.cluster.connection(self.name).environment(),
            input=text.encode() if isinstance(text, str) else text,
            capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()[-3000:]

    def python(self, place: Path, script: str) -> None:
        """A program that sees what is installed in a place, and how the database is reached."""
        found = {
            "PYTHONPATH": str(place),
            "DATABASE_HOST": str(self.cluster.socket_directory),
            "DATABASE_NAME": self.name,
        }
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | found,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]


# Debian


def _contrib(target: Target) -> None:
    target.script((HERE / "contrib.sql").read_text(encoding="utf-8"))


def _pgtap(target: Target) -> None:
    """As plain functions in a schema, so that each of them is compared."""
    path = "usr/share/postgresql/15/extension/pgtap.sql"
    script = debian("postgresql-15-pgtap", path, PINS["pgtap"]).read_text(encoding="utf-8")
    target.script(f"CREATE SCHEMA tap; SET search_path = tap, public;\n{script}")
    target.script("CREATE TABLE checked (id serial, told text);"
                  "SET search_path = tap, public;"
                  "SELECT plan(1); INSERT INTO checked (told) SELECT ok(true)")  # fmt: skip


def _partman(target: Target) -> None:
    """Likewise, with a partitioned table that it manages."""
    path = "usr/share/postgresql/15/extension/pg_partman--4.7.2.sql"
    script = debian("postgresql-15-partman", path, PINS["partman"]).read_text(encoding="utf-8")
    lines = [line for line in script.splitlines() if "pg_extension_config_dump" not in line]
    target.script("CREATE SCHEMA partman; SET search_path = partman, public;\n"
                  + "\n".join(lines).replace("@extschema@", "partman"))  # fmt: skip


def _bacula(target: Target) -> None:
    path = "usr/share/dbconfig-common/data/bacula-director-pgsql/install/pgsql"
    target.script(debian("bacula-director-pgsql", path, PINS["bacula"]).read_bytes())
    target.script("INSERT INTO Path (Path) SELECT '/srv/' || n FROM generate_series(1, 200) n;"
                  "INSERT INTO File (JobId, PathId, FilenameId, LStat, Md5)"
                  " SELECT 1, n, n, 'P0A', md5(n::text)"
                  " FROM generate_series(1, 200) n")  # fmt: skip


def _icinga(target: Target) -> None:
    path = "usr/share/icinga2-ido-pgsql/schema/pgsql.sql"
    target.script(debian("icinga2-ido-pgsql", path, PINS["icinga"]).read_bytes())
    target.script("INSERT INTO icinga_instances (instance_name, instance_description)"
                  " SELECT 'i' || n, 'instance' FROM generate_series(1, 20) n")  # fmt: skip


def _powerdns(target: Target) -> None:
    path = "usr/share/pdns-backend-pgsql/schema/schema.pgsql.sql"
    target.script(debian("pdns-backend-pgsql", path, PINS["pdns"]).read_bytes())
    target.script("INSERT INTO domains (name, type)"
                  " SELECT 'd' || n || '.example', 'NATIVE' FROM generate_series(1, 50) n;"
                  "INSERT INTO records (domain_id, name, type, content, ttl)"
                  " SELECT n, 'www.d' || n || '.example', 'A', '192.0.2.1', 300"
                  " FROM generate_series(1, 50) n")  # fmt: skip


def _kea(target: Target) -> None:
    path = "usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql"
    target.script(debian("kea-admin", path, PINS["kea"]).read_bytes())


def _kamailio(target: Target) -> None:
    folder = debian("kamailio-postgres-modules", "usr/share/kamailio/postgres", PINS["kamailio"])
    scripts = sorted(folder.glob("*-create.sql"), key=lambda one: (one.stem[:8] != "standard", one))
    for script in scripts:
        if not script.name.startswith("uid_"):  # another layout of the same tables
            target.script(script.read_bytes())


def _roundcube(target: Target) -> None:
    path = "usr/share/dbconfig-common/data/roundcube/install/pgsql"
    target.script(debian("roundcube-core", path, PINS["roundcube"]).read_bytes())
    target.script("INSERT INTO users (username, mail_host)"
                  " SELECT 'u' || n, 'mail.example' FROM generate_series(1, 50) n")  # fmt: skip


def _zabbix(target: Target) -> None:
    folder = debian("zabbix-server-pgsql", "usr/share/zabbix-server-pgsql", PINS["zabbix"])
    for name in ("schema", "images"):
        target.script(gzip.decompress((folder / f"{name}.sql.gz").read_bytes()))


# npm


def _graphile_worker(target: Target) -> None:
    package = npm("graphile-worker", "0.18.0", PINS["graphile-worker"])
    target.script("CREATE SCHEMA graphile_worker")
    for script in sorted((package / "sql").glob("*.sql")):
        text = script.read_text(encoding="utf-8")
        target.script(text.replace(":GRAPHILE_WORKER_SCHEMA", "graphile_worker"), "-1")
    target.script("SELECT graphile_worker.add_job('mail', json_build_object('n', n))"
                  " FROM generate_series(1, 50) n")  # fmt: skip


def _message_db(target: Target) -> None:
    """In the order of its own installer."""
    base = npm("@eventide/message-db", "1.3.1", PINS["message-db"]) / "database"
    parts = ["roles", "schema", "extensions", "tables", "types", "functions", "indexes", "views",
             "privileges"]  # fmt: skip
    for part in parts:
        for script in sorted((base / part).glob("*.sql")):
            target.script(script.read_bytes())
    target.script("SET search_path = message_store, public; SELECT write_message("
                  "gen_random_uuid()::varchar, 'account-' || n, 'Opened', '{\"n\": 1}'::jsonb)"
                  " FROM generate_series(1, 50) n")  # fmt: skip


# PyPI


def _procrastinate(target: Target) -> None:
    place = wheel("procrastinate", "3.10.0", PINS["procrastinate"])
    target.script((place / "procrastinate/sql/schema.sql").read_bytes())


def _kinto(target: Target) -> None:
    place = wheel("kinto", "26.5.0", PINS["kinto"])
    for part in ("storage", "permission", "cache"):
        target.script((place / "kinto/core" / part / "postgresql/schema.sql").read_bytes())
    target.script("INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)"
                  " SELECT 'r' || n, '/buckets/b', 'record',"
                  " '2026-01-28'::timestamp + n * '1 s'::interval, '{\"n\": 1}', false"
                  " FROM generate_series(1, 100) n")  # fmt: skip


def _synapse(target: Target) -> None:
    place = wheel("matrix-synapse", "1.163.2", *PINS["synapse"].split())
    for part in ("common", "main", "state"):
        path = f"synapse/storage/schema/{part}/full_schemas/72/full.sql.postgres"
        target.script((place / path).read_bytes())


_PROJECT = """
import os
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    SECRET_KEY="for a test", USE_TZ=True, SITE_ID=1, ROOT_URLCONF="none",
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", STATIC_URL="/static/",
    WAGTAIL_SITE_NAME="Test", WAGTAILADMIN_BASE_URL="http://test.example",
    INSTALLED_APPS=APPS, MIDDLEWARE=[],
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "USER": "postgres",
                           "NAME": os.environ["DATABASE_NAME"],
                           "HOST": os.environ["DATABASE_HOST"]}},
)
django.setup()
call_command("migrate", verbosity=0)
"""
_DJANGO = f"""
APPS = ["django.contrib." + name for name in
        ("admin", "auth", "contenttypes", "flatpages", "messages", "postgres", "redirects",
         "sessions", "sites")]
{_PROJECT}
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.contrib.flatpages.models import FlatPage
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sites.models import Site

for number in range(30):
    user = User.objects.create(username=f"user{{number}}", email="a@b.example", password="!")
    group = Group.objects.create(name=f"group {{number}}")
    group.permissions.set(Permission.objects.all()[: number + 1])
    user.groups.add(group)
    page = FlatPage.objects.create(url=f"/{{number}}/", title="Title \\u0645", content="<p>")
    page.sites.add(Site.objects.get())
    LogEntry.objects.log_actions(user.pk, [page], CHANGE, change_message="changed")
    session = SessionStore()
    session["number"] = number
    session.create()
"""
_WAGTAIL = f"""
APPS = ["wagtail." + name for name in
        ("contrib.forms", "contrib.redirects", "contrib.search_promotions", "embeds", "sites",
         "users", "snippets", "documents", "images", "search", "admin")]
APPS += ["wagtail", "modelcluster", "taggit"]
APPS += ["django.contrib." + name for name in
         ("admin", "auth", "contenttypes", "messages", "sessions", "postgres")]
{_PROJECT}
from django.contrib.auth.models import User
from wagtail.contrib.redirects.models import Redirect
from wagtail.models import Collection, Page

User.objects.create(username="editor", password="!")
home = Page.objects.get(depth=2)
for number in range(20):
    page = home.add_child(instance=Page(title=f"Page {{number}}", slug=f"page-{{number}}"))
    page.save_revision()
    Redirect.objects.create(old_path=f"/old/{{number}}", redirect_page=page)
Collection.get_first_root_node().add_child(name="Papers")
"""


def _django(target: Target) -> None:
    target.python(installed(HERE / "django.lock"), _DJANGO)


def _wagtail(target: Target) -> None:
    target.python(installed(HERE / "django.lock"), _WAGTAIL)


@dataclass(frozen=True)
class Schema:
    """One database: whose it is, where it comes from, and how it is made. `told` are codes of
    what is wrong with it as its authors ship it, which must be told; `elsewhere` what it holds
    that lies on other servers, as an operator says it."""

    name: str
    origin: str
    build: Callable[[Target], None]
    told: frozenset[str] = frozenset()
    elsewhere: str = ""


SCHEMAS: Final = (
    Schema(
        "PostgreSQL's own extensions",
        f"{_DEBIAN}, postgresql-15",
        _contrib,
        elsewhere='"foreign table *"',
    ),
    Schema("pgTAP", f"{_DEBIAN}, postgresql-15-pgtap", _pgtap),
    Schema("pg_partman", f"{_DEBIAN}, postgresql-15-partman", _partman),
    Schema("Bacula's catalogue", f"{_DEBIAN}, bacula-director-pgsql", _bacula),
    # A row with its number written out, and the sequence left where it begins.
    Schema("Icinga 2", f"{_DEBIAN}, icinga2-ido-pgsql", _icinga, frozenset({"source-unsound"})),
    Schema("PowerDNS", f"{_DEBIAN}, pdns-backend-pgsql", _powerdns),
    Schema("Kea DHCP", f"{_DEBIAN}, kea-admin", _kea),
    Schema("Kamailio", f"{_DEBIAN}, kamailio-postgres-modules", _kamailio),
    Schema("Roundcube", f"{_DEBIAN}, roundcube-core", _roundcube),
    Schema("Zabbix", f"{_DEBIAN}, zabbix-server-pgsql", _zabbix),
    Schema("Graphile Worker", "npm, graphile-worker 0.18.0", _graphile_worker),
    Schema("Message DB", "npm, @eventide/message-db 1.3.1", _message_db),
    Schema("Procrastinate", "PyPI, procrastinate 3.10.0", _procrastinate),
    Schema("Kinto", "PyPI, kinto 26.5.0", _kinto),
    Schema("Matrix Synapse", "PyPI, matrix-synapse 1.163.2", _synapse),
    Schema("Django's own applications", "PyPI, Django 5.2.19", _django),
    Schema("Wagtail", "PyPI, wagtail 7.0.10", _wagtail),
)

PINS: Final = {
    "pgtap": "203cc5839a143c567bd36ebfc93085fd124be46d0f990b5dba5399a51d6c75e9",
    "partman": "d58dbb7153445816b5feecaaed91ca4379d36232be2f5e6ae4c5d63290404e99",
    "bacula": "e46b406a892d5b682a9feba1e2a5969ccfeb323a5250a9a04c39eab32897a77c",
    "icinga": "dc911d719a642ca4bf9c1ccf4163d22745033e2eb904d51ffad1af732739bf94",
    "pdns": "710fe153de6467ca76f6c6355fe32506c48f9e0eef1f6a6534ee413bfa7cb120",
    "kea": "98d3dabfd8b5773e07200d59d81d64cc1573f72c59c88ffc036c9067bd50cbc0",
    "kamailio": "003ef2416c5f9d8242531ebab87efc2854210767b1a2a0de7b4e6818730e3408",
    "roundcube": "2f8617968c9710e1a67398c9d61082906dd8ceac1eddaf1265632b998723ae9f",
    "zabbix": "e4d17c8b4928955240df67f229a4a8ec2b86d04aa41db834dc2e5b6efdf1633b",
    "graphile-worker": (
        "WDpuFp7v6TUoTeA5k9YFHfopaomZkyIy90PvRWMuM5BV0igRnNScw82HI6IehAiaI7wWpS56IWloLZ8ugZ2ceA=="
    ),
    "message-db": (
        "n3hdE5YAZNXTr2HK9gG0GJ6dusgdE544LTvS+21/yOEHBvNuUzNmXXw5vS05vpe6RSuhzTRy5Wg0q7c1VfJg+A=="
    ),
    "procrastinate": "949ad25b4377c30e03a9d0e053d15dfa47ef02b3f12ae8a7f3254686183c152c",
    "kinto": "886a877bc33a810324ca57a4c48bfebd74de440405d194b649c414e34fa614a1",
    "synapse": (
        "08b47beef92c1e25bcb1a4a36ae3c2a4220dfddd183f11918a3382155eb04dea "
        "4583f1cb8ae6e257c67b752148c3f5ec16ccf7d6cc5d8375d88a14ac20f8effe "
        "6cecae98b6e1b55dd68e689329cf1677cba103d4160c320f04b26bd081ff1558 "
        "6eb047b05938cfb1ba5eb64f5bfaf5e595dad679b1a405a7e2c267838045cfc1 "
        "785df8ab9b9d5dcf6fed39eafa24937b8e18d43f5fccff403485701e275a03b0 "
        "8b1b44119b5b4ff48c8a347dca7b8acf61d29f1d4d26fc916e753f61ffe98d2d "
        "b0a1eb7d746e9356a6b73832908a92401ccba0c44ef371cf8f7b81f305af4594 "
    ),
}


# Ways


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Cluster]:
    """A server with Debian's programs."""
    directory.mkdir()
    with throwaway_cluster(major=MAJOR) as cluster:
        assert cluster.major == MAJOR
        yield cluster


@contextlib.contextmanager
def _built(schema: Schema, grounds: Grounds) -> Iterator[Scene]:
    cluster, path = grounds.shared(ground), grounds.new_directory()
    name = f"real_{path.name.rpartition('-')[2]}"
    execute(cluster, "postgres", f"CREATE DATABASE {name}")
    try:
        schema.build(Target(cluster, name))
        path.mkdir()
        config = CONFIG.replace("@ELSEWHERE@", schema.elsewhere)
        place = make_place(path, config.replace("@URL@", url_of(cluster, name)))
        new_repository(path / "store")
        with scene_of(place, database=name) as scene:
            yield scene
    finally:
        execute(cluster, "postgres", f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(path, ignore_errors=True)


def _backed_up_and_drilled(schema: Schema, scene: Scene) -> Seen:
    captured = ask("backup")(scene)
    if captured.outcome != "exit 0" or captured.loud:
        return captured
    drilled = ask("drill")(scene)
    assert schema.told <= drilled.loud, drilled.told
    return replace(drilled, loud=drilled.loud - schema.told)


REAL: Final = tuple(
    Way(one.name, WORKER, partial(_built, one), partial(_backed_up_and_drilled, one))
    for one in SCHEMAS
)
