"""First capture of files into an S3 store: rclone's server on this host, for every contender."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import files_workload
from bench.contenders import Archiver, Bucket, Home
from bench.files_suite import LEAST_FILES, ask_about_ours, capture
from bench.sample import Book
from bench.suite import Entry, Setting, create_homes
from tests.support.store_servers import ACCESS_KEY, SECRET_KEY, S3Server, rclone_s3

FIRST, NEXT = "s3.first", "s3.next-day"
_FILES = 6_000


def run_s3(setting: Setting, book: Book) -> None:
    """Measures a first and a next day's capture over S3."""
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
                capture(book, NEXT, number, entries)
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
