"""Pauses that grow, limits that hold: decided without waiting for either."""

from __future__ import annotations

import random

import pytest

from strongroom.errors import StorageError
from strongroom.repository.storage import MemoryStorage, Patience, RetryingStorage
from strongroom.repository.storage.limited import Bucket, LimitedStorage, Limits


class Failing(MemoryStorage):
    """A store whose loads fail with these codes, one after the other, before they succeed."""

    def __init__(self, *codes: str) -> None:
        super().__init__()
        self.codes = list(codes)
        self.tries = 0

    def load(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.tries += 1
        if self.codes:
            raise StorageError("as told", code=self.codes.pop(0))
        return super().load(name, offset, length)


def patient(storage: MemoryStorage, slept: list[float], patience: Patience) -> RetryingStorage:
    storage.save("config", b"sealed")
    return RetryingStorage(storage, patience, sleep=slept.append)


def test_what_passes_is_waited_out() -> None:
    slept: list[float] = []
    storage = Failing(*["store-unreachable"] * 4)
    assert patient(storage, slept, Patience()).load("config") == b"sealed"
    assert storage.tries == 5
    assert len(slept) == 4


@pytest.mark.parametrize(
    "code", ["store-missing", "store-refused", "store-full", "store-failed", "wrong-password"]
)
def test_what_does_not_pass_is_told_at_once(code: str) -> None:
    slept: list[float] = []
    storage = Failing(code)
    with pytest.raises(StorageError) as raised:
        patient(storage, slept, Patience()).load("config")
    assert raised.value.code == code
    assert (storage.tries, slept) == (1, [])


def test_patience_ends() -> None:
    slept: list[float] = []
    storage = Failing(*["store-unreachable"] * 1000)
    with pytest.raises(StorageError) as raised:
        patient(storage, slept, Patience(total_seconds=30)).load("config")
    assert raised.value.code == "store-unreachable"
    assert sum(slept) == pytest.approx(30)
    assert max(slept) <= 15


def test_whoever_gives_up_waiting_ends_it() -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    storage = Failing("store-unreachable")
    with pytest.raises(KeyboardInterrupt):
        RetryingStorage(storage, sleep=stop).load("config")


def test_pauses_grow_and_differ() -> None:
    patience = Patience(total_seconds=60, first_seconds=1, longest_seconds=8)
    means = [0.0] * 6
    firsts = set()
    for seed in range(200):
        pauses = list(patience.pauses(random.Random(seed)))
        assert sum(pauses) == pytest.approx(60)
        assert all(pause <= 8 for pause in pauses)
        firsts.add(round(pauses[0], 3))
        for place, pause in enumerate(pauses[:6]):
            means[place] += pause / 200
    assert means[0] < means[1] < means[2] < means[3]
    assert len(firsts) > 100


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_holds_over_several_files() -> None:
    clock = Clock()
    bucket = Bucket(1000, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        bucket.spend(500)
    assert clock.now - 100.0 == pytest.approx(5.0)
    clock.now += 60  # a pause is not saved up
    bucket.spend(1000)
    assert clock.now - 165.0 == pytest.approx(1.0)


def test_limits_are_for_one_direction_each() -> None:
    storage = LimitedStorage(MemoryStorage(), Limits(upload=10**9))
    storage.create()
    storage.save("config", b"sealed")
    assert storage.load("config") == b"sealed"
    assert storage.size("config") == 6
    assert [*storage.list("data")] == []
    storage.delete("config")
    assert storage.location == "memory:"
    assert storage.connections == 1
