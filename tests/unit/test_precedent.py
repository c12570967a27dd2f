"""What records tell of a retention policy: captures under it, and the last prune by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strongroom.config import Settings
from strongroom.evidence import Entry, Ledger
from strongroom.plan.consent import Precedent
from strongroom.service.precedent import policies_json, precedent


def configured(**retention: Any) -> Settings:
    return Settings.model_validate(
        {
            "version": 1,
            "application": "tms",
            "sources": {
                "uploads": {"kind": "files", "path": "/srv/uploads"},
                "invoices": {"kind": "files", "path": "/srv/invoices"},
            },
            "repositories": {
                name: {"location": f"/backup/{name}", "password": "file:/key"}
                for name in ("local", "offsite")
            },
            "retention": retention,
        }
    )


OURS = configured(local={"last": 3}, offsite={"last": 9})


class Records:
    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger(folder / "ledger.jsonl")

    def add(self, kind: str, **fields: Any) -> None:
        self._ledger.append(kind, {"application": "tms", **fields})

    def backup(self, settings: Settings, *ids: str, source: str = "uploads") -> None:
        stored = [{"source": source, "repository": "local", "id": one} for one in ids]
        self.add("backup", snapshots=stored, policies=policies_json(settings, [source]))

    def pruned(self, settings: Settings, left: int = 5, /, **fields: Any) -> None:
        policy = settings.policy_digest("local")
        known = {"repository": "local", "ended": True, "policy": policy, "left": left}
        self.add("pruned", **{**known, "suspended": False, **fields})

    def known(self, settings: Settings, repository: str = "local") -> Precedent:
        entries: list[Entry] = list(self._ledger.entries())
        return precedent(settings, entries, repository)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path)


def test_what_was_captured_under_the_policy_is_known(records: Records) -> None:
    records.backup(OURS, "a", "b")
    records.backup(configured(local={"last": 1}), "c")
    records.add("backup", snapshots=[{"source": "uploads", "repository": "local", "id": "d"}])
    assert records.known(OURS).captured == {"a", "b"}


def test_another_source_s_policy_is_another_matter(records: Records) -> None:
    records.backup(OURS, "a")
    records.backup(OURS, "b", source="invoices")
    changed = configured(local={"last": 3}, offsite={"last": 9}, invoices={"last": 1})
    assert records.known(changed).captured == {"a"}


def test_a_copy_has_the_policies_of_its_capture(records: Records) -> None:
    records.backup(OURS, "a")
    records.backup(configured(local={"last": 3}), "b")
    made = [{"source": "uploads", "id": f"{one}2", "from_id": one} for one in ("a", "b", "x")]
    records.add("copy", to="offsite", snapshots=made)
    records.add("repair", repository="offsite", snapshots=[{"id": "a3", "from_id": "a2"}])
    assert records.known(OURS, "offsite").captured == {"a", "a2", "a3"}


def test_the_last_prune_counts_when_it_was_by_this_policy(records: Records) -> None:
    assert records.known(OURS).left is None
    records.pruned(OURS, 7)
    assert records.known(OURS).left == 7
    assert records.known(OURS, "offsite").left is None
    records.pruned(configured(local={"last": 1}), 2)
    assert records.known(OURS).left is None


@pytest.mark.parametrize(
    "odd", [{"ended": False}, {"suspended": True}, {"suspended": None}, {"left": None},
            {"repository": "offsite"}, {"application": "other"}],
)  # fmt: skip
def test_one_that_shows_nothing_is_no_precedent(records: Records, odd: dict[str, Any]) -> None:
    """Neither for its own policy nor against the one before."""
    records.pruned(OURS, 7)
    records.pruned(configured(local={"last": 1}), 2, **odd)
    assert records.known(OURS).left == 7
    assert records.known(configured(local={"last": 1})).left is None
