"""The definitions of a captured schema, made in a target one by one.

Each entry of a script is run statement by statement in a session that has the script's own
settings. What fails is a complaint with the entry's object, and the next entry is run: an operator
at three in the morning wants all that can be had. Foreign keys are made at once and their rows
looked at afterwards, which locks nobody out, so that several are looked at together. A deadlock
between our own sessions says nothing about an entry: it is run again alone. What this does not do:
decide how a complaint counts.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from strongroom.errors import SourceError
from strongroom.postgres.agenda import Agenda, Task
from strongroom.postgres.connection import Connection
from strongroom.postgres.crew import Crew
from strongroom.postgres.entry_subject import subject_of, table_of
from strongroom.postgres.messages import EXISTS, Complaint, of_the_host
from strongroom.postgres.schema_script import Entry, Script, tokens

if TYPE_CHECKING:
    import psycopg

__all__ = ["DefiningSession", "Definitions", "halves_of", "locks_of", "plain_table"]

# The server's resources, somebody who ends it, the system below.
_OF_THE_HOST: Final = frozenset({"53", "57", "58"})
_DEADLOCK: Final = "40P01"
# A library or a control file that the server does not have is about the object that wants it.
_MISSING_FILE: Final = "58P01"
_VALIDATION: Final = "FK VALIDATION"
# What a setting of the script places, or makes in a way of its own.
_PLACED: Final = frozenset({"TABLE", "INDEX", "CONSTRAINT", "MATERIALIZED VIEW"})
_SESSION: Final = "SET SESSION AUTHORIZATION "
_RESET: Final = "RESET SESSION AUTHORIZATION"
# These lock nothing that another of them needs for more than a moment, so they run at once.
_AT_ONCE: Final = frozenset({"INDEX", "CONSTRAINT", "FK CONSTRAINT"})


def plain_table(entry: Entry) -> str:
    """The table of an index or a key that is made of nothing but the table's own columns, as it is
    written in the statement; "" for all else. A function, operator or type of the database's own
    may look at other tables, so those wait until all rows are there."""
    if entry.kind not in ("INDEX", "CONSTRAINT"):
        return ""
    relation, rest = _relation(entry)
    return "" if any(one == "." for one in rest) else relation


def locks_of(entry: Entry) -> tuple[frozenset[str], frozenset[str]]:
    """The tables that an index, key or foreign key locks against all others of them, and those
    that it shares."""
    relation, rest = _relation(entry)
    own = frozenset({relation})
    if entry.kind == "INDEX":
        return frozenset(), own
    if entry.kind == "FK CONSTRAINT" and "REFERENCES" in rest:
        place = rest.index("REFERENCES")
        return own | {"".join(rest[place + 1 : place + 4])}, frozenset()
    return own, frozenset()


def _relation(entry: Entry) -> tuple[str, list[str]]:
    """The table in an entry's first statement as it is written there, and what follows."""
    if not entry.statements:
        return "", []
    words = [one.text for one in tokens(entry.statements[0])]
    lead = "ON" if entry.kind == "INDEX" else "TABLE"
    if lead not in words:
        return "", []
    begin = words.index(lead) + 1
    begin += words[begin : begin + 1] == ["ONLY"]
    return "".join(words[begin : begin + 3]), words[begin + 3 :]


def halves_of(entry: Entry) -> tuple[str, Entry] | None:
    """A foreign key as a statement that looks at no rows, and the looking; None of one that is
    made otherwise, as those of partitioned tables are."""
    if len(entry.statements) != 1:
        return None
    statement = entry.statements[0]
    words = [one.text for one in tokens(statement)]
    relation, rest = _relation(entry)
    if words[:3] != ["ALTER", "TABLE", "ONLY"] or rest[:2] != ["ADD", "CONSTRAINT"]:
        return None
    if words[-3:-1] == ["NOT", "VALID"] or "ENFORCED" in words:
        return None
    made = statement.rstrip().removesuffix(";") + " NOT VALID;"
    table = f"ALTER TABLE ONLY {relation}"
    left = (f"{table} VALIDATE CONSTRAINT {rest[2]};", f"{table} DROP CONSTRAINT {rest[2]};")
    return made, replace(entry, kind=_VALIDATION, statements=left)


class DefiningSession:
    """A session under a script's settings. For one thread at a time.

    Of objects that the target had before (`kept`), nothing further is altered.
    """

    def __init__(
        self,
        session: psycopg.Connection,
        complain: Callable[[Complaint], None],
        kept: Collection[str] = (),
    ) -> None:
        self.session, self._complain, self._kept = session, complain, kept
        self._state: Mapping[str, str] = {}
        self._lost: set[tuple[str, str]] = set()
        self._subject = ""
        session.add_notice_handler(self._noticed)

    def begin(self, preamble: Sequence[str], settings: Mapping[str, str]) -> None:
        """The script's settings, then ours, whose names the server may not know."""
        for statement in preamble:
            self._run(statement, "settings")
        for name, value in settings.items():
            self.session.execute(
                "SELECT pg_catalog.set_config(name, %s, false) FROM pg_catalog.pg_settings"
                " WHERE name = %s",
                [value, name],
            )

    def define(self, entry: Entry) -> bool:
        """Make one object; False when it got into a deadlock and is to be run again alone."""
        subject, part_of = subject_of(entry), table_of(entry)
        if entry.kind == _VALIDATION:
            return self._validate(entry, subject, part_of)
        self._follow(entry, subject)
        skipping = False
        for number, statement in enumerate(entry.statements):
            if statement.startswith(_RESET):
                if not skipping:
                    self.session.execute(b"RESET ROLE")
                skipping = False
            elif not skipping:
                # Not even a member may take another's session; its role will do.
                is_other = statement.startswith(_SESSION)
                run = f"SET ROLE {statement.removeprefix(_SESSION)}" if is_other else statement
                state = self._run(run, subject, part_of, _about(entry, statement))
                if state == _DEADLOCK and number == 0:
                    return False
                skipping = is_other and state is not None
                if number == 0 and state is not None and self._ends(state, entry, subject):
                    break
        return True

    def begin_foreign_key(self, entry: Entry) -> Entry:
        """What is left to be done of a foreign key: to look at the rows, where it could be made
        without; else all of it."""
        halves = halves_of(entry)
        if halves is None:
            return entry
        made, left = halves
        state = self._run(made, subject_of(entry), about="ignored")
        return entry if state is not None else left

    def _validate(self, entry: Entry, subject: str, part_of: str) -> bool:
        """Look at the rows of a foreign key; one that they break does not stay."""
        validate, drop = entry.statements
        state = self._run(validate, subject, part_of)
        if state == _DEADLOCK:
            return False
        if state is not None:
            self._run(drop, subject, about="ignored")
        return True

    def _ends(self, state: str, entry: Entry, subject: str) -> bool:
        """Whether nothing further is to be done for an object whose first statement failed."""
        if entry.kind in ("ACL", "DEFAULT ACL"):
            return False
        return subject in self._kept or state not in EXISTS

    def _follow(self, entry: Entry, subject: str) -> None:
        """Take on the settings that stand in front of an entry."""
        for name, value in entry.state:
            is_new = (name, value) not in self._lost and self._state.get(name) != value
            if is_new and self._run(f"SET {name} = {value};", subject, about="ignored"):
                self._lost.add((name, value))
                self.session.execute(f"RESET {name}".encode())
            if (name, value) in self._lost and entry.kind in _PLACED:
                text = f"it was made with {name} = {value}, which is not to be had here"
                self._complain(Complaint(subject, text, about="place"))
        self._state = dict(entry.state)

    def _run(self, statement: str, subject: str, part_of: str = "", about: str = "") -> str | None:
        """The SQLSTATE of what went wrong, None when nothing did; a deadlock is not told."""
        import psycopg

        self._subject = subject
        try:
            self.session.execute(statement.encode("latin-1"))
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state == _DEADLOCK or about == "ignored":
                return state
            diag = error.diag
            text = diag.message_primary or str(error).partition("\n")[0]
            lost = self.session.broken or self.session.closed
            failed = state[:2] in _OF_THE_HOST and state != _MISSING_FILE
            if lost or failed or of_the_host([Complaint(subject, text)]):
                raise SourceError(text, subject=subject) from None
            if diag.message_detail:
                text += f" DETAIL:  {diag.message_detail}"
            given = statement if about == "owner" else ""
            self._complain(Complaint(subject, text, False, state, about, part_of, given))
            return state
        return None

    def _noticed(self, diag: psycopg.errors.Diagnostic) -> None:
        if diag.severity_nonlocalized == "WARNING":
            self._complain(Complaint(self._subject, diag.message_primary or "", warning=True))


def _about(entry: Entry, statement: str) -> str:
    if entry.kind in ("ACL", "DEFAULT ACL"):
        return "grant"
    return "owner" if " OWNER TO " in statement and statement.startswith("ALTER ") else ""


class Definitions:
    """A script that is run in a target, by as many sessions as there are jobs."""

    def __init__(
        self,
        target: Connection,
        script: Script,
        complain: Callable[[Complaint], None],
        *,
        settings: Mapping[str, str],
        kept: Collection[str] = (),
    ) -> None:
        self._target, self._script, self._complain = target, script, complain
        self._settings, self._kept = settings, kept
        self._again: list[Entry] = []
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def session(self) -> Iterator[DefiningSession]:
        """An open session under the script's settings."""
        with self._target.connect() as connection:
            made = DefiningSession(connection, self._complain, self._kept)
            made.begin(self._script.preamble, self._settings)
            yield made

    def define(self, session: DefiningSession, entry: Entry) -> None:
        """One object, while others are made in other sessions."""
        if not session.define(entry):
            with self._guard:
                self._again.append(entry)

    def run(self, entries: Sequence[Entry], jobs: int, weights: Mapping[str, int]) -> None:
        """All of these in their order, neighbours that allow it at once: the heaviest first, by the
        weights of their tables as they are written in statements."""
        with self.session() as session:
            for group in _groups(entries):
                if len(group) == 1 or jobs == 1:
                    for entry in group:
                        self.define(session, entry)
                else:
                    self._run_at_once(session, group, jobs, weights)
                self.run_again(session)

    def finish(self) -> None:
        """What got into deadlocks, when nothing else is run any more."""
        if self._again:
            with self.session() as session:
                self.run_again(session)

    def run_again(self, session: DefiningSession) -> None:
        """What got into deadlocks, alone, now that nothing else runs."""
        again, self._again = self._again, []
        for entry in again:
            if not session.define(entry):
                subject = subject_of(entry)
                self._complain(Complaint(subject, "deadlock detected, alone as well"))

    def _run_at_once(
        self,
        session: DefiningSession,
        group: Sequence[Entry],
        jobs: int,
        weights: Mapping[str, int],
    ) -> None:
        if group[0].kind == "FK CONSTRAINT":
            group = [session.begin_foreign_key(entry) for entry in group]
        agenda = Agenda(self.task(entry, weights) for entry in group)
        crew = Crew()

        def work(one: DefiningSession) -> None:
            with crew.breaking(one.session.cancel):
                agenda.work(lambda entry: self.define(one, entry))

        def work_apart() -> None:
            with self.session() as other:
                work(other)

        others = min(jobs, len(group)) - 1
        crew.run([lambda: work(session), *([work_apart] * others)])

    def task(self, entry: Entry, weights: Mapping[str, int]) -> Task[Entry]:
        """The entry as work beside other work."""
        alone, shared = locks_of(entry)
        relation = _relation(entry)[0]
        return Task(entry, weights.get(relation, 0), alone, shared)


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Neighbours of one kind that may run at once; each other entry by itself."""
    group: list[Entry] = []
    for entry in entries:
        if group and (entry.kind not in _AT_ONCE or not _alike(group[0], entry)):
            yield group
            group = []
        if entry.kind in _AT_ONCE:
            group.append(entry)
        else:
            yield [entry]
    if group:
        yield group


def _alike(one: Entry, other: Entry) -> bool:
    return (one.kind == "FK CONSTRAINT") == (other.kind == "FK CONSTRAINT")
