"""For all ledgers: what was appended comes back, and any changed byte shows."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.evidence import Ledger

_NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(
    lambda name: name not in {"seq", "at", "kind", "previous", "hash"}
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
_FIELDS = st.dictionaries(_NAMES, _LEAVES | st.lists(_LEAVES, max_size=3), max_size=4)


@settings(max_examples=60)
@given(records=st.lists(_FIELDS, min_size=1, max_size=5), data=st.data())
def test_any_changed_byte_shows(records: list[dict[str, object]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for fields in records:
            ledger.append("drill", fields)
        assert [dict(one.fields) for one in ledger.entries()] == records
        assert ledger.verify() == []
        content = bytearray(ledger.path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        ledger.path.write_bytes(content)
        assert ledger.verify() != []
