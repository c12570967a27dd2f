"""Files in an S3 store: rclone's server on this host, for every contender.

Captures reach it directly; a restore reaches it as if it were far away (`far_away`), which is what
an off-site store is on the worst day, and begins without any cache.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench import files_workload
from bench.contenders import Archiver, Bucket, Home
from bench.far_away import far_away
from bench.files_suite import LEAST_FILES, ask_about_ours, capture, first_difference
from bench.sample import Book
from bench.suite import Entry, Setting, create_homes, take_turn, turn_of
from tests.support.store_servers import ACCESS_KEY, SECRET_KEY, S3Server, rclone_s3

FIRST, NEXT, RESTORE = "s3.first", "s3.next-day", "s3.restore"
ROUND_TRIP_SECONDS: Final = 0.02
_FILES = 6_000


def run_s3(setting: Setting, book: Book) -> None:
    """Measures a first and a next day's capture over S3, and a restore from far away."""
    files, place = setting.work / "s3-files", setting.work / "s3"
    count = max(LEAST_FILES, round(_FILES * setting.scale))
    total = files_workload.make_files(files, seed=setting.seed, count=count)
    print(f"s3: {count} files, {total / 1e6:.1f} MB", flush=True)
    try:
        for number in range(setting.rounds):
            with rclone_s3(place / str(number)) as server:
                entries = [
                    Entry(one, _home(place / str(number), one, server, files))
                    for one in setting.archivers
                ]
                entries = create_homes(book, FIRST, number, entries)
                entries = capture(book, FIRST, number, entries)
                files_workload.next_day(files, seed=setting.seed, day=number + 1)
                entries = capture(book, NEXT, number, entries)
                with far_away(_port(server.url), ROUND_TRIP_SECONDS) as port:
                    for entry in entries:
                        _restore(book, number, _moved(entry, port))
                if number == 0:
                    ask_about_ours(setting, book, entries, FIRST)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(files)


def _home(place: Path, contender: Archiver, server: S3Server, files: Path) -> Home:
    assert server.root is not None
    # As buckets may be called.
    name = "".join(letter for letter in contender.name.lower() if letter.isalnum())
    location = f"s3:{server.url}/{name}/repository"
    bucket = Bucket(location, server.root / name, ACCESS_KEY, SECRET_KEY)
    return Home(place / "homes" / name, files, bucket=bucket)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _moved(entry: Entry, port: int) -> Entry:
    """The same repository by another port, on a host that knows nothing of it yet."""
    bucket = entry.home.bucket
    assert bucket is not None
    location = bucket.location.replace(
        f":{_port(bucket.location.removeprefix('s3:'))}/", f":{port}/"
    )
    place = entry.home.directory.with_name(f"{entry.home.directory.name}-restores")
    home = replace(entry.home, directory=place, bucket=replace(bucket, location=location))
    entry.contender.adopt(home)
    return replace(entry, home=home)


def _restore(book: Book, number: int, entry: Entry) -> None:
    target = entry.home.directory / "restored"
    pipeline = entry.contender.restore_files(entry.home, target)
    done = take_turn(book, turn_of(entry, RESTORE, number), pipeline)
    if done and number == 0:
        difference = first_difference(entry.home.source_files, target)
        sentence = f"{entry.contender.name} restored all exactly from S3"
        book.confirm(sentence, difference is None, difference or "")
