"""What a database answered when it was captured: `answers.json`, as values, and how it is taken.

Questions are asked in the capture's own snapshot, so that a copy of it must give the same answers.
Production is spared: each question has a time limit, all of them together have one, and a role
that is refused once is not tried again. Whatever was not asked is in the record with its reason.
Of what a role sees, only counts and digests are kept, and claims only in a digest. Snapshots
of earlier versions have no such file: nothing is known of them then, which is not a fault.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import IntegrityError
from strongroom.expectation import Expectation, Wanted
from strongroom.postgres import layout
from strongroom.postgres.exchange import CapturedFiles
from strongroom.postgres.question import Answer, Outcome, Question, ask, effective_path

if TYPE_CHECKING:
    import psycopg

__all__ = [
    "SAME",
    "Answers",
    "CollationState",
    "Limits",
    "Recorded",
    "read_answers",
    "record_answers",
]

FORMAT: Final = 1
SAME: Final = Expectation("same", Wanted.SAME)


@dataclass(frozen=True, slots=True)
class Limits:
    """What questions may take of a production server, in seconds. The generated ones get less
    each, and what the others leave of the whole."""

    each_seconds: float = 10
    each_generated_seconds: float = 3
    whole_seconds: float = 60


@dataclass(frozen=True, slots=True)
class Recorded:
    """One question and its answer. `sql` is kept of generated ones only: nobody else knows it."""

    identity: str
    name: str
    answer: Answer
    role: str | None = None
    sql: str = ""

    @property
    def generated(self) -> bool:
        return bool(self.sql)

    def question(self) -> Question:
        """A generated question, to be asked again."""
        return Question(self.name, self.sql, SAME, self.role, generated=True)


@dataclass(frozen=True, slots=True)
class CollationState:
    """A collation's version as the database recorded it, and as its library has it now."""

    recorded: str
    actual: str

    @property
    def changed(self) -> bool:
        """Whether it is known to have changed: some libraries don't tell their version."""
        return bool(self.actual) and self.recorded != self.actual


@dataclass(frozen=True, slots=True)
class Answers:
    """The whole of `answers.json`. `left_out` names what was not asked, each with the reason."""

    search_path: str
    recorded: tuple[Recorded, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    collations: Mapping[str, CollationState] = field(default_factory=dict)

    def find(self, question: Question) -> Answer | None:
        """What was answered to this very question; None when it was not known then."""
        wanted = question.identity
        return next((one.answer for one in self.recorded if one.identity == wanted), None)

    def to_json(self) -> bytes:
        """UTF-8 JSON; equal answers give equal bytes."""
        whole = {"format": FORMAT, "kind": "answers", **dataclasses.asdict(self)}
        return (json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Answers:
        """What `to_json` wrote; IntegrityError `snapshot-damaged` when it is something else."""
        try:
            whole = json.loads(data)
            if whole["format"] != FORMAT:
                raise ValueError(f"format {whole['format']} is newer than this program")
            return cls(
                str(whole["search_path"]),
                tuple(_recorded(one) for one in whole["recorded"]),
                tuple((str(name), str(why)) for name, why in whole["left_out"]),
                {str(k): CollationState(**v) for k, v in whole["collations"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise IntegrityError(
                f"these are not the answers of a database ({error})",
                subject=layout.ANSWERS,
                code="snapshot-damaged",
            ) from None


# Any: JSON as it was read; the constructors refuse names that they do not have.
def _recorded(entry: Mapping[str, Any]) -> Recorded:
    answer = dict(entry["answer"])
    answer["outcome"] = Outcome(answer["outcome"])
    return Recorded(**{**entry, "answer": Answer(**answer)})


def read_answers(files: CapturedFiles) -> Answers | None:
    """The answers in a snapshot; None in one that was made before there were any."""
    if not files.exists(layout.ANSWERS):
        return None
    return Answers.from_json(files.read(layout.ANSWERS))


def record_answers(
    session: psycopg.Connection,
    questions: Sequence[Question],
    generated: Iterable[Question],
    *,
    limits: Limits = Limits(),
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[str, tuple[Recorded, ...], tuple[tuple[str, str], ...]]:
    """Ask in the session's open transaction: the search path, the answers, and what was left out.

    Ends early when `stopped` says so.
    """
    asking = _Asking(session, limits)
    recorded: list[Recorded] = []
    left_out: list[tuple[str, str]] = []
    for question in (*questions, *generated):
        if stopped():
            break
        answer = asking.ask(question)
        sql = question.sql if question.generated else ""
        if question.generated and answer.outcome not in (Outcome.ROWS, Outcome.DENIED):
            left_out.append((question.name, answer.reason))
            continue
        kept = answer.to_keep(question)
        recorded.append(Recorded(question.identity, question.name, kept, question.role, sql))
    return asking.path, tuple(recorded), tuple(_grouped(left_out))


class _Asking:
    """How much time is left, and which roles were refused."""

    def __init__(self, session: psycopg.Connection, limits: Limits) -> None:
        self._session, self._limits = session, limits
        self._end = time.monotonic() + limits.whole_seconds
        self._refused: dict[str, Answer] = {}
        self.path = effective_path(session)

    def ask(self, question: Question) -> Answer:
        if question.role in self._refused:
            return self._refused[question.role]
        left = self._end - time.monotonic()
        if left <= 0:
            whole = self._limits.whole_seconds
            return Answer(Outcome.UNASKED, reason=f"the {whole:.0f} s for all questions were over")
        each = self._limits.each_seconds
        if question.generated:
            each = self._limits.each_generated_seconds
        answer = ask(
            self._session,
            question,
            timeout_seconds=min(each, left),
            search_path=self.path,
        )
        if question.role is not None and answer.outcome is Outcome.REFUSED:
            self._refused[question.role] = answer
        return answer


def _grouped(left_out: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """One entry for each reason: the same refusal of a role would be told for every table."""
    reasons = dict.fromkeys(why for _, why in left_out)
    for reason in reasons:
        names = [name for name, why in left_out if why == reason]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{names[0]}{more}", reason
