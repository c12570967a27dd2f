"""A restored database in which one thing was changed is FAILED, with the finding that says what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from strongroom.findings import Severity
from strongroom.model import Finding, Verdict, judge
from strongroom.postgres.capture import CaptureOptions, capture_database
from strongroom.postgres.cluster import Cluster, throwaway_cluster
from strongroom.postgres.inventory import Inventory
from strongroom.postgres.load import LoadOptions, load_database
from strongroom.postgres.manifest import Manifest
from strongroom.postgres.proof import ProofOptions, prove_database
from strongroom.postgres.sandbox import reference_in, sandbox_for
from tests.e2e.postgres_directory import DirectoryStore, make_database, psql

# One cluster serves all of them: one worker runs them.
pytestmark = pytest.mark.xdist_group("postgres-changes")

ORDERS = "public.orders"
# What is told of the source itself, and of how PostgreSQL prints it.
OF_THE_SOURCE = ("structure-rewritten", "source-unsound", "question-left-out")
WITHOUT_CHECKS = "SET session_replication_role = replica; "


@dataclass
class Restored:
    """What was captured, and a server that holds the restored copy as `restored`."""

    store: DirectoryStore
    cluster: Cluster
    reference: Inventory

    def prove(self, change: str) -> tuple[Verdict, list[Finding]]:
        """The verdict on a copy of the restored database with one change, and what was found."""
        server, name = self.cluster.connection(), "changed"
        psql(self.cluster, server, "-c", f"DROP DATABASE IF EXISTS {name}")
        psql(self.cluster, server, "-c", f"CREATE DATABASE {name} TEMPLATE restored")
        target = self.cluster.connection(name)
        manifest = Manifest.from_json(self.store.read("manifest.json"))
        for before, after in manifest.database.settings:
            psql(self.cluster, server, "-c", f"{before}{name}{after}")
        psql(self.cluster, target, "-c", change)
        proof = prove_database(self.store, target, ProofOptions(reference=lambda: self.reference))
        return judge(proof.findings, checked=proof.checked), [
            one for one in proof.findings if one.code not in OF_THE_SOURCE
        ]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    store = DirectoryStore(tmp_path_factory.mktemp("captured"))
    with throwaway_cluster(major=15) as cluster:
        psql(cluster, cluster.connection(), "-f", "tests/e2e/postgres_roles.sql")
        source = make_database(cluster, "source", "postgres_rows.sql")
        capture_database(source, CaptureOptions(), store)
    with sandbox_for(store) as cluster:
        report = load_database(store, cluster.connection("restored"), LoadOptions(own_server=True))
        assert not [one for one in report.findings if one.severity is not Severity.NOTE]
        yield Restored(store, cluster, reference_in(cluster, store)())


ONE_OF = "of 2000 captured rows 1 are missing or changed"
SHOUT = "ALTER TABLE generated_columns DROP COLUMN shout; ALTER TABLE generated_columns ADD COLUMN"

# The change, the finding's code and subject, and what its message says.
CHANGES = [
    ("UPDATE orders SET total = 1500.51 WHERE id = 1000", "content-differs", ORDERS,
     f"{ONE_OF}, and 1 were not captured"),
    ("DELETE FROM orders WHERE id = 7", "content-differs", ORDERS,
     f"{ONE_OF}, and 0 were not captured; first at row 7,"),
    (f"{WITHOUT_CHECKS}INSERT INTO orders VALUES (9000, 1, 1, 'x')", "content-differs", ORDERS,
     "0 are missing or changed, and 1 were not captured; first at row 2001,"),
    (f"{WITHOUT_CHECKS}DELETE FROM orders", "content-differs", ORDERS, "2000 are missing"),
    ("UPDATE texts SET note = NULL WHERE id = 2", "content-differs", "public.texts",
     "1 are missing"),
    ("INSERT INTO no_columns DEFAULT VALUES", "content-differs", "public.no_columns",
     "first at row 4"),
    ("INSERT INTO no_rows VALUES (1)", "content-differs", "public.no_rows", "of 0 captured rows"),
    ("DROP TABLE texts", "content-missing", "public.texts", "expected 17 rows"),
    ("ALTER TABLE texts RENAME note TO remark", "content-missing", "public.texts", "column note"),
    (f"{SHOUT} shout text GENERATED ALWAYS AS (lower(label)) STORED", "content-generated",
     "public.generated_columns", "shout: digest"),
    ("SELECT lo_put(91003, 2000000, 'X')", "content-large-object", "large objects",
     "different: 91003"),
    ("SELECT lo_unlink(91002)", "content-large-object", "large objects", "2 with"),
    ("SELECT setval('free_sequence', 50)", "sequence-differs", "public.free_sequence",
     "47 was captured"),
    ("SELECT setval('identity_columns_id_seq', 443, false)", "sequence-differs",
     "public.identity_columns_id_seq", "443 was captured"),
    ("ALTER POLICY own ON orders USING (true)", "structure-differs", "policy own on public.orders",
     "using"),
    ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY", "structure-differs",
     "table public.orders", "row_security: expected yes, observed no"),
    ("GRANT SELECT ON texts TO PUBLIC", "structure-differs", "table public.texts", "grants"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "subject", "text"), CHANGES, ids=[change[0][:40] for change in CHANGES]
)
def test_one_change_is_found(
    restored: Restored, change: str, code: str, subject: str, text: str
) -> None:
    verdict, findings = restored.prove(change)
    assert verdict is Verdict.FAILED
    found = [one for one in findings if one.code == code and one.subject == subject]
    assert len(found) == 1, findings
    assert text in found[0].message


def test_the_same_rows_in_another_order_are_a_note(restored: Restored) -> None:
    change = f"{WITHOUT_CHECKS}UPDATE orders SET total = total WHERE id < 50"
    verdict, findings = restored.prove(change)
    assert verdict is Verdict.PROVEN
    assert [(one.code, one.subject) for one in findings] == [("content-order", ORDERS)]
    assert findings[0].message == "the same 2000 rows; order differs from row 1"


def test_a_sequence_that_went_on_is_no_fault(restored: Restored) -> None:
    verdict, findings = restored.prove("SELECT nextval('free_sequence')")
    assert verdict is Verdict.PROVEN
    assert findings == []


@pytest.mark.parametrize(
    "lost", ["a row", "a column", "everything", "all after a marker", "a byte"]
)
def test_a_stream_cut_short_on_loading_is_found(restored: Restored, lost: str) -> None:
    """A store that gives other bytes than were put: the load may see it, the proof always."""
    store, cluster = restored.store, restored.cluster
    tables = Manifest.from_json(store.read("manifest.json")).tables
    table = next(one for one in tables if one.label == ORDERS)
    data = store.read(table.file)
    cut = {
        "a row": data[: data.rindex(b"\n", 0, -1) + 1],
        "a column": data[: data.rindex(b"\t")],
        "everything": b"\\.\n",
        "all after a marker": data[: data.index(b"\n") + 1] + b"\\.\n" + data,
        "a byte": data[:-2] + b"\n",
    }
    lying = DirectoryStore(store.root)
    lying.__dict__.update(store.__dict__, altered={table.file: cut[lost]})
    target = cluster.connection(f"lost {lost}")
    report = load_database(lying, target, LoadOptions(own_server=True))
    told = [one.subject for one in report.findings if one.code == "load-error"]
    assert told[:1] == ([] if lost == "a byte" else [f"table {ORDERS}"])
    assert not [one for one in report.findings if ': "' in one.message], "rows may be secret"
    proof = prove_database(store, target, ProofOptions())
    assert ("content-differs", ORDERS) in {(one.code, one.subject) for one in proof.findings}
    assert judge(proof.findings, checked=proof.checked) is Verdict.FAILED
