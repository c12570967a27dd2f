"""The uploads folder: files drawn from rows of the database, and the rows that refer to them.

Each file gets exactly one row in `documents` with its path below the folder, size and SHA-256;
times of change come from the rows, so that two builds from one seed give equal trees. A few
original scans of purchase orders go into the database itself as large objects.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from strongroom.demo.sheets import Sheet, draw, scan_of

if TYPE_CHECKING:
    from psycopg.rows import DictRow

    from strongroom.demo.database import Session

__all__ = ["FOLDERS", "file_count", "store_scans", "write_uploads"]

FOLDERS: Final = {
    "lpo": "lpos",
    "certificate": "certificates",
    "invoice": "invoices",
    "quote": "quotes",
}
_SHARES: Final = {"certificate": 40, "invoice": 25, "lpo": 20, "quote": 15}  # per cent of the files
_FIRST_SCAN_OID: Final = 880_000

# The folders are served by the web server, but nothing in them may run.
_HTACCESS: Final = "php_flag engine off\nOptions -Indexes\nRemoveHandler .php .phtml\n"

# Each query takes `files`, spreads them evenly over the table and names what its sheet needs.
_ROWS: Final = {
    "certificate": """
        SELECT c.id, c.number, t.full_name, k.title, c.details ->> 'grade' AS grade,
               c.issued_on AS on_date, c.expires_on
        FROM generate_series(0, %(files)s - 1) AS n
        JOIN public.certificates c
            ON c.id = 1 + n * (SELECT count(*) FROM public.certificates) / %(files)s
        JOIN public.trainees t ON t.id = c.trainee_id
        JOIN public.courses k ON k.id = c.course_id
        ORDER BY c.id""",
    "invoice": """
        SELECT i.id, i.number, o.name AS organisation, o.trn, i.issued_on AS on_date, i.due_on,
               i.net, i.vat, i.gross,
               (SELECT array_agg(ARRAY[l.description, l.quantity::text, l.unit_price::text,
                                       l.amount::text] ORDER BY l.line)
                FROM public.invoice_lines l WHERE l.invoice_id = i.id) AS lines
        FROM generate_series(0, %(files)s - 1) AS n
        JOIN public.invoices i
            ON i.id = 1 + n * (SELECT count(*) FROM public.invoices) / %(files)s
        JOIN public.organisations o ON o.id = i.organisation_id
        ORDER BY i.id""",
    "lpo": """
        SELECT l.id, l.number, o.name AS organisation, l.amount, l.received_on AS on_date,
               l.metadata ->> 'buyer' AS buyer, l.metadata ->> 'cost_centre' AS cost_centre
        FROM generate_series(0, %(files)s - 1) AS n
        JOIN public.lpos l
            ON l.id = 1 + n * (SELECT count(*) FROM public.lpos) / %(files)s
        JOIN public.organisations o ON o.id = l.organisation_id
        ORDER BY l.id""",
    "quote": """
        SELECT q.id, q.number, o.name AS organisation, k.title, q.seats, q.unit_price, q.total,
               lower(q.valid) AS on_date, upper(q.valid) AS until
        FROM generate_series(0, %(files)s - 1) AS n
        JOIN public.quotations q
            ON q.id = 1 + n * (SELECT count(*) FROM public.quotations) / %(files)s
        JOIN public.organisations o ON o.id = q.organisation_id
        JOIN public.courses k ON k.id = q.course_id
        ORDER BY q.id""",
}

_COLUMNS: Final = {
    "certificate": "certificate_id",
    "invoice": "invoice_id",
    "lpo": "lpo_id",
    "quote": "quotation_id",
}


@dataclass(frozen=True, slots=True)
class _Document:
    """One file: what it is about, where it goes below the uploads folder, and what it shows."""

    kind: str
    subject_id: int
    path: str
    on_date: date
    sheet: Sheet


def file_count(rows: int) -> int:
    """How many files go with so many rows: 400 with 200,000, at least 16, at most 2,000."""
    return min(2_000, max(16, rows // 500))


def write_uploads(
    session: Session,
    folder: Path,
    files: int,
    progress: Callable[[float], None],
) -> int:
    """Write about `files` PDF files below `folder` and a row of `documents` for each.

    Returns how many were written. `progress` is told the share that is done, 0 to 1.
    """
    for name in FOLDERS.values():
        (folder / name).mkdir(parents=True)
    (folder / ".htaccess").write_text(_HTACCESS, encoding="ascii")
    documents = list(_documents(session, files))
    with (
        session.cursor() as cursor,
        cursor.copy(
            "COPY public.documents (id, kind, file_path, size_bytes, sha256, quotation_id, lpo_id,"
            " invoice_id, certificate_id, uploaded_at) FROM STDIN"
        ) as copy,
    ):
        for done, document in enumerate(documents, start=1):
            content = draw(document.sheet)
            moment = datetime.combine(document.on_date, time(9, 30), tzinfo=UTC)
            _write(folder / document.path, content, moment)
            subject = {_COLUMNS[document.kind]: document.subject_id}
            copy.write_row((
                hashlib.md5(document.path.encode(), usedforsecurity=False).hexdigest(),
                document.kind, document.path, len(content), hashlib.sha256(content).hexdigest(),
                subject.get("quotation_id"), subject.get("lpo_id"), subject.get("invoice_id"),
                subject.get("certificate_id"), moment,
            ))  # fmt: skip
            progress(done / len(documents))
    _settle_times(folder)
    return len(documents)


def store_scans(session: Session, scans: int) -> None:
    """Keep the scanned originals of the first purchase orders as large objects, 30 to 350 kB each.

    Their numbers are fixed, as everything else here; the first may be read by every user.
    """
    for index in range(1, scans + 1):
        oid = _FIRST_SCAN_OID + index
        image = scan_of(f"LPO scan {index}", width=180 + 40 * index, height=240 + 25 * index)
        session.execute("SELECT lo_from_bytea(%s, %s)", (oid, image))
        session.execute("UPDATE public.lpos SET scan = %s WHERE id = %s", (oid, index))
    session.execute(f"GRANT SELECT ON LARGE OBJECT {_FIRST_SCAN_OID + 1} TO authenticated")
    session.execute(
        f"COMMENT ON LARGE OBJECT {_FIRST_SCAN_OID + 1} IS 'First order after the move'"
    )


def _documents(session: Session, files: int) -> Iterator[_Document]:
    for kind, share in _SHARES.items():
        wanted = max(1, files * share // 100)
        for row in session.execute(_ROWS[kind], {"files": wanted}):
            yield _document(kind, row)


def _document(kind: str, row: DictRow) -> _Document:
    """The paper for one row, with the name that its uploader would have given the file."""
    on_date: date = row["on_date"]
    name = f"{row['number']}.pdf"
    if kind == "lpo" and row["id"] % 3 == 0:  # clients name their own files
        name = f"{row['number']} - {row['organisation']} (signed).pdf"
    elif kind == "lpo" and row["id"] % 7 == 0:
        name = f"أمر شراء محلي {row['number']}.pdf"
    path = f"{FOLDERS[kind]}/{on_date.year}/{row['id']:06d}-{name}"
    return _Document(kind, row["id"], path, on_date, _SHEETS[kind](row))


def _certificate(row: DictRow) -> Sheet:
    expiry = f"valid until {row['expires_on']}" if row["expires_on"] else "valid without limit"
    return Sheet(
        title="Certificate of Achievement",
        number=row["number"],
        facts=[
            ("This is to certify that", row["full_name"]),
            ("has completed the course", row["title"]),
            ("with the result", str(row["grade"])),
        ],
        closing=f"Dubai, {row['on_date']}; {expiry}",
        landscape=True,
    )


def _invoice(row: DictRow) -> Sheet:
    totals = [["Net", "", "", str(row["net"])], ["VAT 5 %", "", "", str(row["vat"])],
              ["Total AED", "", "", str(row["gross"])]]  # fmt: skip
    return Sheet(
        title="Tax invoice",
        number=row["number"],
        facts=[
            ("Bill to", row["organisation"]),
            ("TRN", row["trn"] or "not registered"),
            ("Date", str(row["on_date"])),
            ("Payable by", str(row["due_on"])),
        ],
        table=[["Course", "Quantity", "AED each", "AED"], *row["lines"], *totals],
        closing="Payable in AED within 30 days.",
    )


def _lpo(row: DictRow) -> Sheet:
    return Sheet(
        title="Local purchase order",
        number=row["number"],
        facts=[
            ("From", row["organisation"]),
            ("Buyer", row["buyer"]),
            ("Cost centre", row["cost_centre"]),
            ("Received", str(row["on_date"])),
        ],
        table=[["Training as quoted", "AED"], ["Total", str(row["amount"])]],
        closing="Received by e-mail and scanned.",
        scanned=True,
    )


def _quote(row: DictRow) -> Sheet:
    return Sheet(
        title="Quotation",
        number=row["number"],
        facts=[
            ("To", row["organisation"]),
            ("Valid from", str(row["on_date"])),
            ("Valid until", str(row["until"])),
        ],
        table=[
            ["Course", "Seats", "AED each", "AED"],
            [row["title"], str(row["seats"]), str(row["unit_price"]), str(row["total"])],
        ],
        closing="Prices exclude VAT of 5 %.",
    )


_SHEETS: Final[dict[str, Callable[[DictRow], Sheet]]] = {
    "certificate": _certificate,
    "invoice": _invoice,
    "lpo": _lpo,
    "quote": _quote,
}


def _write(path: Path, content: bytes, moment: datetime) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
    os.utime(path, (moment.timestamp(), moment.timestamp()))


def _settle_times(folder: Path) -> None:
    """Every directory is as old as the youngest file below it, and never as old as the build."""
    places = sorted(
        (Path(parent) for parent, _, _ in os.walk(folder)),
        key=lambda place: len(place.parts),
        reverse=True,
    )
    start = datetime(2024, 1, 7, tzinfo=UTC).timestamp()
    os.utime(folder / ".htaccess", (start, start))
    for place in places:
        youngest = max((entry.stat().st_mtime for entry in place.iterdir()), default=start)
        os.utime(place, (youngest, youngest))
        place.chmod(0o755)
