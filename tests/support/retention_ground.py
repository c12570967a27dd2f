"""Made-up retention policies."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st

from strongroom.plan.retention import Rules

_SPANS = st.one_of(st.none(), st.integers(1, 400).map(lambda days: timedelta(days=days)))
_TAGS = st.lists(st.frozensets(st.sampled_from("ab"), min_size=1), max_size=2).map(tuple)


def some_rules(
    *, last: st.SearchStrategy[int | None], counts: st.SearchStrategy[int | None]
) -> st.SearchStrategy[Rules]:
    """A policy with rules of every kind at once, with numbers from these strategies."""
    return st.builds(
        Rules,
        last=last,
        hourly_count=counts,
        daily_count=counts,
        weekly_count=counts,
        monthly_count=counts,
        yearly_count=counts,
        within=_SPANS,
        hourly=_SPANS,
        daily=_SPANS,
        weekly=_SPANS,
        monthly=_SPANS,
        yearly=_SPANS,
        tags=_TAGS,
    )
