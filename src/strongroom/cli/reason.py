"""Why something is given out: asked for at a terminal, and said to be missing elsewhere.

A restore at 3 a.m. must not hang on a question that nobody sees: it is asked only where somebody
types and reads, an empty answer is one, and a script goes on.
"""

from __future__ import annotations

import sys

import click

from strongroom.cli.run import Run


def asked_reason(run: Run, given: str) -> str:
    """The reason for the ledger: the one that was given, or the answer to the question; empty when
    there is none, which `tell_of_none` says once it is done."""
    if given:
        return given
    reason = ""
    if not (run.json or run.quiet) and _is_somebody_there():
        answer: str = click.prompt(
            "Why is this restored? It is kept in the ledger; Enter for no reason",
            default="",
            show_default=False,
            err=True,
        )
        reason = _clean(answer)
    if reason:
        run.reason = reason
        if run.auditor is not None:
            run.auditor.reason = reason
    return reason


def tell_of_none(run: Run, reason: str) -> None:
    """Say that nobody knows why; of what was refused there is nothing to say."""
    if not reason:
        run.say("No reason is given, and recorded so; --reason gives one.")


def _is_somebody_there() -> bool:
    return all(one is not None and one.isatty() for one in (sys.stdin, sys.stderr))


def _clean(answer: str) -> str:
    from strongroom.service.masking import masked_prose

    text = answer.strip().encode("utf-8", "replace").decode()
    return masked_prose(text) if text else ""
