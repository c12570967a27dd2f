"""Columns of made-up rows: each turns a batch of row numbers into COPY text, from a seed.

Values are drawn for a whole batch at once, which is several times quicker than row by row. Keys
of other tables come ascending (`in_order`: rows that were entered together lie together) or from
anywhere (`key_of`).

Invariant: a column's text depends on its batch alone and needs no escaping in COPY.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from bench.words import FIRST_NAMES, LAST_NAMES, WORDS

_FIRST_DATE = date(2023, 1, 1)
_DAYS = 900
_DATES = [str(_FIRST_DATE + timedelta(days=day)) for day in range(_DAYS + 1)]
_TIMES = [
    f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{second * 7919 % 10**6:06d}+00"
    for second in range(21_600, 72_000, 3)
]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows `first` … `first + count - 1` of a table that began with `whole` rows.

    `rows_of` says how many rows another table began with.
    """

    rng: Random
    first: int
    count: int
    whole: int
    rows_of: Callable[[str], int]

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.count)

    def place(self, number: int, steps: int) -> int:
        """Which of `steps` equal parts of the table row `number` lies in, from 0."""
        return (number - 1) * steps // self.whole


Column = Callable[[Batch], Iterable[str]]


def serial(batch: Batch) -> Iterable[str]:
    """The row's own key."""
    return map(str, batch.numbers)


def among(*values: str) -> Column:
    """One of `values`; naming one twice makes it likelier."""
    return lambda batch: batch.rng.choices(values, k=batch.count)


def number(least: int, most: int) -> Column:
    """An integer from `least` to below `most`."""
    return lambda batch: map(str, batch.rng.choices(range(least, most), k=batch.count))


def money(batch: Batch) -> Iterable[str]:
    """An amount with two decimals."""
    amounts = batch.rng.choices(range(5_000, 2_000_000, 25), k=batch.count)
    return [f"{amount // 100}.{amount % 100:02d}" for amount in amounts]


def day(batch: Batch) -> Iterable[str]:
    """A date that ascends with the row's number."""
    return [_DATES[min(batch.place(row, _DAYS), _DAYS)] for row in batch.numbers]


def moment(batch: Batch) -> Iterable[str]:
    """A time stamp whose date ascends with the row's number."""
    times = batch.rng.choices(_TIMES, k=batch.count)
    return map(" ".join, zip(day(batch), times, strict=True))


def text(words: int) -> Column:
    """A phrase of so many words."""

    def make(batch: Batch) -> Iterable[str]:
        drawn = iter(batch.rng.choices(WORDS, k=batch.count * words))
        return map(" ".join, zip(*[drawn] * words, strict=True))

    return make


def code(prefix: str) -> Column:
    """A document number such as INV-00000042."""
    return lambda batch: [f"{prefix}-{row:08d}" for row in batch.numbers]


def name(batch: Batch) -> Iterable[str]:
    """A person's name."""
    firsts = batch.rng.choices(FIRST_NAMES, k=batch.count)
    lasts = batch.rng.choices(LAST_NAMES, k=batch.count)
    return map(" ".join, zip(firsts, lasts, strict=True))


def mail(batch: Batch) -> Iterable[str]:
    """A mail address, unique through the row's number."""
    firsts = batch.rng.choices(FIRST_NAMES, k=batch.count)
    return [
        f"{who.lower()}.{row}@example.com" for who, row in zip(firsts, batch.numbers, strict=True)
    ]


def digest(length_bytes: int) -> Column:
    """Random bytes as hexadecimal digits."""

    def make(batch: Batch) -> Iterable[str]:
        digits = batch.rng.randbytes(length_bytes * batch.count).hex()
        step = 2 * length_bytes
        return [digits[place : place + step] for place in range(0, len(digits), step)]

    return make


def key_of(other: str) -> Column:
    """A key of the table `other`, from anywhere."""
    return lambda batch: map(
        str, batch.rng.choices(range(1, batch.rows_of(other) + 1), k=batch.count)
    )


def in_order(other: str) -> Column:
    """A key of `other` that ascends with the row's number; later rows refer to its last tenth."""

    def make(batch: Batch) -> Iterable[str]:
        rows = batch.rows_of(other)
        if batch.first > batch.whole:
            return map(str, batch.rng.choices(range(rows - rows // 10, rows + 1), k=batch.count))
        return [str(min(batch.place(row, rows), rows - 1) + 1) for row in batch.numbers]

    return make


def change_record(batch: Batch) -> Iterable[str]:
    """The JSON that an audit trail keeps of a change."""
    return [
        f'{{"before": {{"status": "{old}", "amount": {before}}}, '
        f'"after": {{"status": "{new}", "amount": {after}, "note": "{note}"}}}}'
        for old, before, new, after, note in zip(
            among("draft", "pending", "booked")(batch),
            money(batch),
            among("approved", "issued", "paid", "cancelled")(batch),
            money(batch),
            text(8)(batch),
            strict=True,
        )
    ]
