"""`make bench`: runs the suites, prints the tables, and appends them to bench/RESULTS.md.

Options are arguments of `python -m bench.run`, or variables of make: `make bench
BENCH_SCALE=0.01 BENCH_ROUNDS=1 BENCH_ONLY=files`. A run that is smaller than a measurement (scale
below 1 or fewer than three rounds) is appended only when asked to. All samples go to
bench/.results as JSON. The exit status is 1 when a contender failed or a verification did not
hold; a missed target is no failure of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.contenders import NEWEST, RESTIC, Archiver, Restic, Strongroom
from bench.database_suite import client_with_zstd, run_database
from bench.files_suite import run_files, run_tiny
from bench.load_suite import run_load
from bench.machine import describe_machine, describe_versions
from bench.newest_restic import NewerResticError, newest_restic
from bench.recovery_suite import run_recovery
from bench.report import HEADER, Facts, render
from bench.s3_suite import run_s3
from bench.sample import Book
from bench.scale_suite import run_scale
from bench.server import MAJOR
from bench.suite import Setting
from bench.upkeep_suite import run_upkeep
from strongroom.postgres.programs import find_programs

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "bench" / "RESULTS.md"
SAMPLES = CHECKOUT / "bench" / ".results"
SUITES: dict[str, Callable[[Setting, Book], None]] = {
    "files": run_files,
    "tiny": run_tiny,
    "database": run_database,
    "load": run_load,
    "upkeep": run_upkeep,
    "s3": run_s3,
    "recovery": run_recovery,
    "scale": run_scale,
}
_SPACE_BYTES = 12e9  # at scale 1: data, three repositories, WAL, dumps
_SPACE_A_ROUND_BYTES = 11e9  # five restored trees, which stay until the last is timed
_SPACE_ALWAYS_BYTES = 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's exit status."""
    options = _parse(arguments)
    # A plain stop request unwinds too, so that servers end and directories go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = _make_work(options.work)
    try:
        _check_space(work, options)
        return _run(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(options: argparse.Namespace, work: Path) -> int:
    programs = _find_restics()
    archivers: list[Archiver] = [Strongroom()]
    archivers += [Restic(name, program) for name, program in programs.items()]
    facts = Facts(
        begun_at=datetime.now(UTC),
        rounds=options.rounds,
        scale=options.scale,
        seed=options.seed,
        machine=describe_machine(work),
        versions=describe_versions(programs | _postgres_programs()),
    )
    print(f"{facts.machine}\n{facts.versions}", flush=True)
    book = Book()
    setting = Setting(
        work, options.seed, options.scale, options.rounds, archivers, programs[RESTIC]
    )
    complete = False
    try:
        for name in options.only:
            SUITES[name](setting, book)
        complete = True
    finally:
        if book.samples:
            _keep(facts, book, append=complete and (facts.counts or options.append))
    failed = [sample for sample in book.samples if sample.failure is not None]
    return 1 if failed or book.faults else 0


def _find_restics() -> dict[str, Path]:
    stock = shutil.which("restic", path="/usr/bin:" + os.environ.get("PATH", os.defpath))
    if stock is None:
        sys.exit("bench: restic is missing; install the package restic")
    found = {RESTIC: Path(stock)}
    try:
        found[NEWEST] = newest_restic()
    except NewerResticError as error:
        print(f"no newer restic to compare with: {error}", flush=True)
    return found


def _postgres_programs() -> dict[str, Path]:
    programs = find_programs(MAJOR, purpose="server")
    found = {"PostgreSQL": Path(programs.path("postgres"))}
    if (newer := client_with_zstd()) is not None:
        found["pg_dump with zstd"] = newer
    return found


def _keep(facts: Facts, book: Book, *, append: bool) -> None:
    section = render(facts, book)
    print(f"\n{section}", flush=True)
    SAMPLES.mkdir(exist_ok=True)
    document = {**asdict(facts), "begun_at": facts.begun_at.isoformat(), **book.as_json()}
    target = SAMPLES / f"{facts.begun_at:%Y%m%dT%H%M%SZ}.json"
    target.write_text(json.dumps(document, indent=1) + "\n")
    if append:
        earlier = RESULTS.read_text() if RESULTS.is_file() else HEADER
        RESULTS.write_text(f"{earlier.rstrip()}\n\n{section}")


def _make_work(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="work-", dir=parent)).resolve()
    work.chmod(0o711)  # as root, the database server runs as another user
    return work


def _check_space(work: Path, options: argparse.Namespace) -> None:
    restored = options.rounds * _SPACE_A_ROUND_BYTES if "files" in options.only else 0.0
    wanted = _SPACE_ALWAYS_BYTES + options.scale * (_SPACE_BYTES + restored)
    free = shutil.disk_usage(work).free
    if free < wanted:
        sys.exit(f"bench: {wanted / 1e9:.1f} GB are needed and {free / 1e9:.1f} free; use --work")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    given = os.environ.get
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=_at_least_one, default=given("BENCH_ROUNDS", "3"))
    parser.add_argument("--scale", type=_positive, default=given("BENCH_SCALE", "1.0"))
    parser.add_argument("--seed", type=int, default=given("BENCH_SEED", "1"))
    parser.add_argument("--only", type=_suites, default=given("BENCH_ONLY", ",".join(SUITES)))
    parser.add_argument("--work", type=Path, default=given("BENCH_WORK", str(CHECKOUT / ".bench")))
    parser.add_argument("--append", action="store_true", default=bool(given("BENCH_APPEND")))
    return parser.parse_args(arguments)


def _at_least_one(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least one round is wanted")
    return count


def _positive(text: str) -> float:
    if not 0 < (scale := float(text)) <= 10:
        raise argparse.ArgumentTypeError("a scale above 0 and up to 10 is wanted")
    return scale


def _suites(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in SUITES]:
        raise argparse.ArgumentTypeError(f"no suite {unknown[0]}; there are {', '.join(SUITES)}")
    return names or list(SUITES)


if __name__ == "__main__":
    sys.exit(main())
