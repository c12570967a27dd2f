"""Content of the restored database: a copy is spoiled in one way, and the proof is to say so.

The application is captured and restored once; each row works on a copy of that copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from strongroom.postgres.cluster import Cluster, throwaway_cluster
from tests.corpus.model import Fault, Grounds, Scene, Seen, Way, ask, healthy, scene_of, seen
from tests.e2e.command_line import Place, make_place, run
from tests.support.failure_ground import execute, url_of
from tests.support.repository_ground import new_repository

GROUP: Final = "Content of the restored database"
MAJOR: Final = 18

SOURCE, COPY = "tms", "restored"
ROLES = "CREATE ROLE tms_owner; CREATE ROLE tms_reader; CREATE ROLE tms_app LOGIN;"
# What belongs to a database and is lost by a plain dump of it; and by a copy of it, too.
SETTINGS = (
    "ALTER DATABASE {name} SET search_path = public, pg_catalog;"
    "ALTER ROLE tms_app IN DATABASE {name} SET lock_timeout = '2s';"
)
CONFIG = """\
version: 1
application: tms
sources:
  database: {kind: postgres, url: "@URL@"}
repositories:
  local: {location: @STORE@, password: file:key}
queries:
  - {source: database, name: prices, sql: "SELECT sum(price) FROM public.prices", expect: same}
state: state
"""


@dataclass(frozen=True)
class Ground:
    """A server with the application, its one snapshot, and the copy that was restored from it."""

    cluster: Cluster
    place: Place

    def url(self, database: str) -> str:
        return url_of(self.cluster, database)

    def execute(self, database: str, statements: str) -> list[tuple[Any, ...]]:
        return execute(self.cluster, database, statements)


@contextlib.contextmanager
def ground(directory: Path) -> Iterator[Ground]:
    """The application captured once and restored beside itself."""
    with throwaway_cluster(major=MAJOR) as cluster:
        assert cluster.major == MAJOR
        for statement in filter(None, ROLES.split(";")):
            execute(cluster, "postgres", statement)
        execute(cluster, "postgres", f"CREATE DATABASE {SOURCE}")
        schema = Path(__file__).with_name("database.sql").read_text(encoding="utf-8")
        execute(cluster, SOURCE, schema + SETTINGS.format(name=SOURCE))
        directory.mkdir()
        config = CONFIG.replace("@URL@", url_of(cluster, SOURCE)).replace("@STORE@", "store")
        made = Ground(cluster, make_place(directory, config))
        new_repository(directory / "store")
        assert made.place.json("backup")["findings"] == []
        assert made.place.json("restore", "database", "--to", made.url(COPY))["verdict"] == "PROVEN"
        yield made


@contextlib.contextmanager
def _database(made: Ground, name: str, template: str) -> Iterator[None]:
    made.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield
    finally:
        made.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def _a_copy(grounds: Grounds) -> Iterator[Scene]:
    made = grounds.shared(ground)
    name = f"copy_{grounds.new_directory().name.rpartition('-')[2]}"
    with _database(made, name, COPY), scene_of(made.place, database=name, ground=made) as scene:
        made.execute("postgres", SETTINGS.format(name=name))
        yield scene


@contextlib.contextmanager
def _an_empty_database(grounds: Grounds) -> Iterator[Scene]:
    made = grounds.shared(ground)
    name = f"empty_{grounds.new_directory().name.rpartition('-')[2]}"
    with (
        _database(made, name, "template0"),
        scene_of(made.place, database=name, ground=made) as scene,
    ):
        yield scene


@contextlib.contextmanager
def _the_source(grounds: Grounds) -> Iterator[Scene]:
    """A configuration of its own for the database as it is."""
    made = grounds.shared(ground)
    path = grounds.new_directory()
    path.mkdir()
    config = CONFIG.replace("@URL@", made.url(SOURCE)).replace("@STORE@", "store")
    new_repository(path / "store")
    with scene_of(make_place(path, config), database=SOURCE, ground=made) as scene:
        yield scene


@contextlib.contextmanager
def _a_source(grounds: Grounds) -> Iterator[Scene]:
    """A database that may be changed before it is captured."""
    made = grounds.shared(ground)
    path = grounds.new_directory()
    path.mkdir()
    name = f"source_{path.name.rpartition('-')[2]}"
    with _database(made, name, SOURCE):
        config = CONFIG.replace("@URL@", made.url(name)).replace("@STORE@", "store")
        new_repository(path / "store")
        with scene_of(make_place(path, config), database=name, ground=made) as scene:
            yield scene


def _drill_deeply(scene: Scene) -> Seen:
    healthy(scene, "backup")
    return ask("drill", "--deep")(scene)


def _prove(scene: Scene) -> Seen:
    target = scene.ground.url(scene.database)
    return seen(
        run("--config", scene.place.config, "--json", "prove", "database", "--target", target)
    )


def _restore(scene: Scene) -> Seen:
    target = scene.ground.url(scene.database)
    return seen(
        run("--config", scene.place.config, "--json", "restore", "database", "--to", target)
    )


PROVE = Way("prove a restored database", "corpus-content", _a_copy, _prove)
RESTORE = Way("restore into an empty database", "corpus-content", _an_empty_database, _restore)
DEEP = Way("drill a database deeply", "corpus-content", _a_source, _drill_deeply)
BACKUP = Way("back up a database on PostgreSQL 18", "corpus-content", _the_source,
             ask("backup", "database"))  # fmt: skip


def sql(statements: str) -> Callable[[Scene], object]:
    """Spoil the scene's database by statements; `{name}` is its name."""

    def spoil(scene: Scene) -> object:
        return scene.ground.execute(scene.database, statements.replace("{name}", scene.database))

    return spoil


def _rename_role(scene: Scene) -> None:
    """A role belongs to the whole server, so it gets its name back."""
    made = scene.ground
    made.execute("postgres", "ALTER ROLE tms_reader RENAME TO somebody")
    scene.stack.callback(made.execute, "postgres", "ALTER ROLE somebody RENAME TO tms_reader")


def _older_programs(scene: Scene) -> None:
    text = scene.place.config.read_text()
    old = "/usr/lib/postgresql/15/bin"
    scene.place.write_config(text.replace("postgres, ", f"postgres, programs: {old}, "))


CONTENT, STRUCTURE = "content", "structure"
INTEGRITY, ACCESS, MEANING = "integrity", "access", "meaning"
SEES = "access-differs"  # the roles' probes, which a database with row security brings along
DIFFERS, MISSING, EXTRA = "structure-differs", "structure-missing", "structure-extra"


def _row(
    name: str,
    rung: str,
    statements: str,
    *codes: str,
    also: tuple[str, ...] = (),
) -> Fault:
    return Fault(name, GROUP, rung, PROVE, sql(statements), codes, "FAILED", also)


FAULTS = (
    _row("half-empty table", CONTENT,
         "DELETE FROM public.trainees WHERE id > 1000", "content-differs", SEES),
    _row("one row changed", CONTENT,
         "UPDATE public.trainees SET owner = 'other' WHERE id = 7", "content-differs", SEES),
    _row("one row missing", CONTENT,
         "DELETE FROM public.audit WHERE what = 'line 7'", "content-differs"),
    _row("one row too many", CONTENT,
         "INSERT INTO public.audit VALUES ('2026-01-28', 'made up')", "content-differs"),
    _row("table missing", CONTENT,
         "DROP TABLE public.audit", "content-missing", MISSING),
    _row("large object missing", CONTENT,
         "SELECT lo_unlink(4711)", "content-large-object", also=(MISSING,)),
    _row("large object changed", CONTENT,
         "SELECT lo_put(4712, 2, '\\x00')", "content-large-object"),
    _row("generated column computes otherwise", CONTENT,
         "ALTER TABLE public.trainees ALTER label SET EXPRESSION AS (lower(name))",
         "content-generated", DIFFERS),
    _row("sequence behind", CONTENT,
         "SELECT setval('public.lpo_number', 1200)", "sequence-differs"),
    _row("sequence behind its column", INTEGRITY,
         "SELECT setval('public.trainees_id_seq', 7)", "sequence-differs", "sequence-behind"),
    _row("policy USING turned into true", STRUCTURE,
         "INSERT INTO public.trainees (course, owner, name) VALUES (1, 'other', 'x');"
         "ALTER POLICY own_rows ON public.trainees USING (true)", DIFFERS, SEES,
         also=("content-differs",)),
    _row("policy gone", STRUCTURE,
         "DROP POLICY own_rows ON public.trainees", MISSING, SEES),
    _row("row security off with policies present", STRUCTURE,
         "ALTER TABLE public.trainees DISABLE ROW LEVEL SECURITY", DIFFERS),
    _row("a role sees more by another's rows", ACCESS,
         "UPDATE public.trainees SET owner = 'tms_owner' WHERE id > 1990", SEES,
         "content-differs"),
    _row("grant widened", STRUCTURE,
         "GRANT SELECT ON public.courses TO PUBLIC", DIFFERS),
    _row("grant lost", STRUCTURE,
         "REVOKE SELECT ON public.trainees FROM tms_reader", DIFFERS, SEES),
    _row("function body changed", STRUCTURE,
         "CREATE OR REPLACE FUNCTION public.write_audit() RETURNS trigger LANGUAGE plpgsql"
         " AS $$BEGIN RETURN NULL; END$$", DIFFERS),
    _row("trigger disabled", STRUCTURE,
         "ALTER TABLE public.courses DISABLE TRIGGER courses_audit", DIFFERS),
    _row("materialised view unpopulated", STRUCTURE,
         "REFRESH MATERIALIZED VIEW public.totals WITH NO DATA", "matview-unpopulated", DIFFERS),
    _row("constraint NOT VALID", STRUCTURE,
         "ALTER TABLE public.courses DROP CONSTRAINT courses_price_check;"
         "ALTER TABLE public.courses ADD CONSTRAINT courses_price_check"
         " CHECK (price > 0::numeric) NOT VALID", "constraint-unvalidated", DIFFERS),
    _row("constraint gone", STRUCTURE,
         "ALTER TABLE public.trainees DROP CONSTRAINT trainees_course_fkey", MISSING),
    _row("index invalid", STRUCTURE,
         "SET allow_system_table_mods = on; UPDATE pg_index SET indisvalid = false"
         " WHERE indexrelid = 'public.trainees_name'::regclass", "index-invalid", DIFFERS),
    _row("index gone", STRUCTURE, "DROP INDEX public.trainees_name", MISSING),
    _row("database-level search_path lost", STRUCTURE,
         "ALTER DATABASE {name} RESET search_path", DIFFERS),
    _row("a role's setting in the database lost", STRUCTURE,
         "ALTER ROLE tms_app IN DATABASE {name} RESET lock_timeout", MISSING),
    _row("owner changed", STRUCTURE,
         "ALTER TABLE public.audit OWNER TO postgres", DIFFERS),
    _row("view definition changed", STRUCTURE,
         "CREATE OR REPLACE VIEW public.prices AS SELECT code, (price * 2)::numeric(10, 2) AS price"
         " FROM public.courses", DIFFERS, "query-failed"),
    _row("a critical query has another answer", MEANING,
         "UPDATE public.courses SET price = price + 1 WHERE id = 1",
         "query-failed", "content-differs"),
    _row("default value changed", STRUCTURE,
         "ALTER TABLE public.courses ALTER price SET DEFAULT 200", DIFFERS),
    _row("event trigger gone", STRUCTURE, "DROP EVENT TRIGGER keep_audit", MISSING),
    _row("a table planted", STRUCTURE, "CREATE TABLE public.planted ()", EXTRA),
    Fault("role missing", GROUP, STRUCTURE, PROVE, _rename_role,
          (MISSING, DIFFERS), "FAILED", also=(EXTRA,)),
    Fault("index by a function that is not immutable", GROUP, INTEGRITY, DEEP,
          sql("CREATE FUNCTION public.chance(bigint) RETURNS float8 LANGUAGE sql IMMUTABLE"
              " AS 'SELECT random()';"
              "CREATE INDEX by_chance ON public.trainees (public.chance(id))"),
          ("amcheck-failed",), "FAILED"),
    Fault("grant widened by default privileges", GROUP, STRUCTURE, RESTORE,
          sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO tms_reader"),
          ("target-narrowed", EXTRA), "FAILED"),
)  # fmt: skip

# Belongs to the capture, and needs a server that is newer than some programs of this host.
CAPTURE_FAULTS = (
    Fault("client program older than server", "Capture", "backup", BACKUP, _older_programs,
          ("client-programs",), "exit 14"),
)  # fmt: skip
