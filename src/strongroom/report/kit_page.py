"""The printed page of a recovery kit: what it is, how to recover with it, and how without us.

One text, rendered twice: as `README.txt` in the kit, and as a PDF file with QR codes from which the
kit's file can be had again. It holds no secret in clear: whoever finds the paper knows where
repositories lie, and needs the passphrase or a secret key for all else. Pure.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = [
    "KitPage",
    "PagePart",
    "PageReopening",
    "PageRepository",
    "page_parts",
    "page_subject",
    "page_text",
]

_WIDTH: Final = 92


@dataclass(frozen=True, slots=True)
class PageRepository:
    """A repository: where it lies, which file of the kit has its password, None when none has, and
    what else stock restic is to be told, as lines of a shell."""

    name: str
    location: str
    password_file: str | None
    exports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PageReopening:
    """The runbook in short: what makes the application run after everything came back, lines of a
    shell; what the page leaves to hands, and who is called."""

    run: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    by_hand: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class KitPage:
    """What the page tells. `made` is a time for people; `sources` have their names and kinds;
    `held` says what the kit holds besides, one line each; `digest` is that of the sealed file,
    empty where it is not known yet; `reopening` is what comes after the restore."""

    application: str
    kit: str
    made: str
    program: str
    file: str
    sealed_for: tuple[str, ...]
    repositories: tuple[PageRepository, ...]
    sources: tuple[tuple[str, str], ...]
    held: tuple[str, ...]
    digest: str = ""
    codes: int = 0
    reopening: PageReopening | None = None

    @property
    def title(self) -> str:
        return f"Recovery kit of {self.application}"

    @property
    def by_passphrase(self) -> bool:
        return self.sealed_for == ("passphrase",)

    @property
    def database(self) -> bool:
        return any(kind == "postgres" for _, kind in self.sources)


@dataclass(frozen=True, slots=True)
class PagePart:
    """A heading, what is said, and what is typed."""

    heading: str
    told: tuple[str, ...] = ()
    typed: tuple[str, ...] = ()
    then: tuple[str, ...] = ()


def page_text(page: KitPage) -> str:
    """The page as text for any reader."""
    return "\n".join(_text(page))


def _text(page: KitPage) -> Iterator[str]:
    yield page.title.upper()
    yield from _wrapped(page_subject(page))
    for part in page_parts(page):
        yield from ("", part.heading.upper())
        for told in part.told:
            yield from _wrapped(told)
        yield from (f"    {line}" for line in part.typed)
        for told in part.then:
            yield from _wrapped(told)
    yield ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def page_subject(page: KitPage) -> str:
    """Which kit it is, in one line."""
    return f"Kit {page.kit}, made {page.made} by Strongroom {page.program}"


def page_parts(page: KitPage) -> Iterator[PagePart]:
    """What the page says, in its order."""
    yield _what_it_is(page)
    yield _recover(page)
    if page.codes:
        yield _from_paper(page)
    yield _unsealed(page)
    yield from _by_restic(page)
    if page.reopening is not None:
        yield from _reopened(page.reopening)
    yield PagePart("What it holds", tuple(page.held))


def _what_it_is(page: KitPage) -> PagePart:
    opens = "A passphrase opens it." if page.by_passphrase else (
        "The secret key (of age) of any one of these opens it: " + ", ".join(page.sealed_for)
    )  # fmt: skip
    told = (
        f"With the file {page.file} and one repository that survived, everything comes back on a "
        f"machine that has nothing else. {opens} Keep that apart from this paper.",
        *(
            f"Repository {one.name} lies at {one.location}" for one in page.repositories
        ),
    )  # fmt: skip
    if page.digest:
        told += (f"SHA-256 of the file: {page.digest}",)
    return PagePart("What this is", told)


def _recover(page: KitPage) -> PagePart:
    key = "" if page.by_passphrase else " --identity IDENTITY"
    database = " --database env:NEW_DATABASE_URL" if page.database else ""
    then = (
        "Directory and database have to be new or empty. It says what it does, proves what came "
        "back, and can be started again when it was stopped.",
    )
    return PagePart(
        "Recover with Strongroom",
        ("On Linux with Python 3.11 or newer:",),
        (
            "python3 -m venv strongroom",
            f"strongroom/bin/pip install strongroom=={page.program}",
            *(
                ("export NEW_DATABASE_URL=postgresql://USER:PASSWORD@HOST/NEW_DATABASE",)
                if page.database
                else ()
            ),
            f"strongroom/bin/strongroom recover --kit {page.file}{key} --to DIRECTORY{database}",
        ),
        then,
    )


def _from_paper(page: KitPage) -> PagePart:
    return PagePart(
        "From this paper alone",
        (
            f"The {page.codes} codes on the pages that follow are the file itself. Scan them with "
            "any reader of QR codes, put their texts into one file in any order, and give that to "
            "--kit. By hand, with the texts in code-1.txt, code-2.txt and so on, this joins them:",
        ),
        (f"for n in $(seq {page.codes}); do sed 1d code-$n.txt; echo; done | grep . >{page.file}",),
    )


def _unsealed(page: KitPage) -> PagePart:
    key = "" if page.by_passphrase else "-i IDENTITY "
    return PagePart(
        "Open it without Strongroom",
        ("The program `age` (a package of every distribution) opens the file:",),
        (
            f"age -d {key}-o kit.tar.gz {page.file}",
            "mkdir -m 700 kit && tar -xzf kit.tar.gz -C kit",
        ),
    )


def _by_restic(page: KitPage) -> Iterator[PagePart]:
    """How stock programs bring everything back, from each repository and of each source."""
    for one in page.repositories:
        told = ("Choose this repository:",)
        typed: tuple[str, ...] = (
            f"export RESTIC_REPOSITORY={shlex.quote(one.location)}",
            *one.exports,
        )
        if one.password_file is None:
            then: tuple[str, ...] = (
                "Its password is not in this kit: put it into a file, and name that in "
                "RESTIC_PASSWORD_FILE.",
            )
        else:
            typed += (f"export RESTIC_PASSWORD_FILE=kit/{shlex.quote(one.password_file)}",)
            then = ()
        yield PagePart(f"With stock restic: {one.name}", told, typed, then)
    lines = []
    for name, kind in page.sources:
        tags = f"source:{name},application:{page.application}"
        lines.append(f"restic restore latest --tag {tags} --target restored/{name}")
        if kind == "postgres":
            lines.append(f"sh restored/{name}/*/restore.sh {_database(name)}")
        elif kind == "git":
            lines += _git(name)
    told = (
        "The newest of each; `restic snapshots` lists all, and those with the same tag point: "
        "belong together. Run as root, so that files get their owners.",
    )
    after: tuple[str, ...] = ()
    if page.database:
        after = (
            "A database needs psql, and a server that PGHOST, PGPORT, PGUSER and PGPASSWORD lead "
            "to, as a superuser. Passwords of roles are in no snapshot: set them anew.",
        )
    yield PagePart("With stock restic: bring it back", told, tuple(lines), after)


def _reopened(after: PageReopening) -> Iterator[PagePart]:
    """The rest of the way: it runs, it answers, and somebody knows of it."""
    if after.run:
        told = "In the same shell, as root:"
        yield PagePart("With stock programs: make it run", (told,), after.run)
    else:
        told = "How it starts is not known: the configuration has no section `recovery`."
        yield PagePart("With stock programs: make it run", (told,))
    if after.health:
        yield PagePart("See whether it answers", ("Each line ends without a word:",), after.health)
    by_hand = tuple(f"[ ] {one}" for one in after.by_hand)
    yield PagePart("By hand, afterwards", by_hand)
    named = after.contacts or ("Nobody is named: `contacts` in the configuration is empty.",)
    yield PagePart("Whom to call", named)
    if after.runbook:
        told = f"The whole runbook, with every step and check, is {after.runbook} in the kit."
        yield PagePart("The whole runbook", (told,))


def _database(name: str) -> str:
    return f"{name.replace('-', '_')}_restored"


def _git(name: str) -> list[str]:
    return [
        f"git clone --mirror restored/{name}/*/repository.bundle restored/{name}-code/.git",
        f"git -C restored/{name}-code config --bool core.bare false",
        f"git -C restored/{name}-code checkout",
        f"git -C restored/{name}-code remote remove origin",
        f"cp -a restored/{name}/*/untracked/. restored/{name}-code/",
    ]
