"""Retention means what stock restic means by the same words, over made-up histories."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.plan.retention import Kept, Rules, decide
from strongroom.repository import Repository, Snapshot
from strongroom.repository.snapshot import encode_snapshot
from tests.support.repository_ground import new_repository
from tests.support.restic import Restic, stock_restics
from tests.support.retention_ground import some_rules

NOW = datetime.now(UTC)
OURS = ("newest of its source",)
COUNTS = st.one_of(st.none(), st.integers(1, 8))
RULES = some_rules(last=COUNTS, counts=COUNTS).filter(lambda rules: not rules.keeps_nothing)
# Minutes before a moment near a year's end, so that ISO weeks and month ends come up.
MOMENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 60 * 24 * 3), st.integers(0, 60 * 24 * 800)),
        st.frozensets(st.sampled_from("abc")),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda one: one[0],
)
ENDS = st.sampled_from(
    [NOW, datetime(2026, 1, 3, 12, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)]
)


def arguments(rules: Rules) -> Iterator[str]:
    """The policy in the words of `restic forget`."""
    if rules.last is not None:
        yield f"--keep-last={rules.last}"
    for word in ("hourly", "daily", "weekly", "monthly", "yearly"):
        if (count := getattr(rules, f"{word}_count")) is not None:
            yield f"--keep-{word}={count}"
        if (span := getattr(rules, word)) is not None:
            yield f"--keep-within-{word}={span.days}d"
    if rules.within is not None:
        yield f"--keep-within={rules.within.days}d"
    for tags in rules.tags:
        yield f"--keep-tag={','.join(sorted(tags))}"


def stored(repository: Repository, moments: list[tuple[datetime, frozenset[str]]]) -> list[Kept]:
    """Snapshots of these times: nobody looks at their trees."""
    kept = []
    for time, tags in moments:
        snapshot = Snapshot("", time, "ab" * 32, ("/tms",), tuple(sorted(tags)), hostname="host")
        made = repository.save_file("snapshots", encode_snapshot(snapshot, os.getuid(), 0))
        kept.append(Kept(made, time, tags))
    return kept


def their_decision(restic: Restic, place: Path, rules: Rules, zone: str) -> dict[str, set[str]]:
    """What stock restic keeps, with its reasons without numbers."""
    words = ("forget", "--dry-run", "--json", "--group-by", "host", *arguments(rules))
    answer = restic.attempt(place, *words, TZ=zone)
    if b"refusing to delete last snapshot" in answer.stdout + answer.stderr:
        return {}  # newer releases have a guard against a policy that keeps nothing
    assert answer.returncode == 0, answer.stderr
    (group,) = json.loads(answer.stdout.splitlines()[0])
    return {
        kept["id"]: set(one["matches"])
        for kept, one in zip(group["keep"] or (), group["reasons"] or (), strict=True)
    }


def comparable(reasons: dict[str, set[str]], restic: Restic) -> dict[str, set[str]]:
    """Reasons without numbers and brackets. Releases before 0.16 don't keep the oldest one."""
    found = {}
    for snapshot, words in reasons.items():
        plain = {re.split(" within | snapshot", one)[0] for one in words}
        plain = {re.sub(r"[\[\]]", "", one) for one in plain}
        if restic.version < (0, 16):
            plain = {one for one in plain if not one.startswith("oldest ")}
        if plain:
            found[snapshot] = plain
    return found


@pytest.mark.parametrize("restic", stock_restics(), ids=str)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(MOMENTS, RULES, ENDS)
def test_the_same_words_keep_the_same_snapshots(
    tmp_path_factory: pytest.TempPathFactory,
    restic: Restic,
    moments: list[tuple[int, frozenset[str]]],
    rules: Rules,
    end: datetime,
) -> None:
    place = tmp_path_factory.mktemp("forget")
    repository = new_repository(place)
    times = [(end - timedelta(minutes=minutes), tags) for minutes, tags in moments]
    kept = stored(repository, times)
    ours = {one.id: set(one.because) - set(OURS) for one in decide(kept, rules, NOW) if one.keep}
    theirs = their_decision(restic, place, rules, "UTC")
    assert comparable(ours, restic) == comparable(theirs, restic)
