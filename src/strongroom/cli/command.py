"""How every command of ours is declared: with two examples, global options in any place, and the
trace that its run leaves in the ledger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from strongroom.cli.audit import auditor_of
from strongroom.cli.run import Run
from strongroom.errors import ConfigError
from strongroom.service.lifeline import COMMANDS

_LEAST_RATE = 1024
_COMMAND_NAMED = f"{__name__}.command-named"
_WORDS = f"{__name__}.words"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Command(click.Command):
    """A command whose help ends in two examples, and that takes the global options itself, too,
    since that is where people type them. One that `follows` an action of the schedule is done by
    the service where one runs, and else here, while nobody else does the same."""

    # Any: click's own parameters
    def __init__(
        self, *arguments: Any, examples: tuple[str, str], follows: str = "", **options: Any
    ) -> None:
        options.setdefault("context_settings", {}).update(_SETTINGS)
        super().__init__(*arguments, **options)
        self.examples = examples
        self._follows = follows
        self.params.extend(global_options(hidden=True))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_WORDS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # Any: whatever the command returns
        _attend(ctx)
        run = ctx.find_object(Run)
        if not self._follows or run is None or ctx.params.get("dry_run"):
            return super().invoke(ctx)
        status = run.followed(self._follows, ctx.params.get("sources", ()))
        if status is not None:
            return status
        with run.in_turn(self._follows):
            return super().invoke(ctx)

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


def _attend(context: click.Context) -> None:
    """From now on this is the command whose run is recorded."""
    run = context.ensure_object(Run)
    commands = os.environ.get(COMMANDS)
    if commands is not None:
        if context.info_name not in commands.split():
            raise _refused(context)
    elif run.state is not None and context.info_name != "serve":
        # Elsewhere a run would leave its trace in a ledger that nobody looks at.
        raise click.UsageError("--state is for services and what they start.", context)
    run.auditor = auditor_of(context, context.meta[_WORDS], run.reason)


def _refused(context: click.Context) -> ConfigError:
    """What a service is ordered to do may come from another host of a fleet."""
    return ConfigError(
        "no service carries this out",
        subject=context.command_path,
        code="usage",
        hint="Run the command yourself, where no service does.",
    )


class Group(click.Group):
    """A group of such commands; commands are listed in the order of a recovery's life."""

    command_class = Command

    # Any: click's own parameters
    def __init__(self, *arguments: Any, examples: tuple[str, ...] = (), **options: Any) -> None:
        options.setdefault("context_settings", {}).update(_SETTINGS)
        super().__init__(*arguments, **options)
        self.examples = examples

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        _write_examples(formatter, self.examples)


class AnsweringGroup(Group):
    """A group that answers by itself where no command of it is named: its arguments are then its
    own, and it takes the global options like a command."""

    # Any: click's own parameters
    def __init__(self, *arguments: Any, **options: Any) -> None:
        options |= {"invoke_without_command": True, "subcommand_metavar": "| COMMAND [ARGS]..."}
        super().__init__(*arguments, **options)
        self.params.extend(global_options(hidden=True))

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        given = super().get_params(context)
        # Asked in the context of a command of it, for that one's usage line, they are none, too.
        if context.command is self and not context.meta.get(_COMMAND_NAMED):
            return given
        return [one for one in given if not isinstance(one, click.Argument)]

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        named = self._first_word(args) in self.commands
        context.meta[_COMMAND_NAMED] = named
        context.allow_interspersed_args = not named
        context.meta[_WORDS] = list(args)
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:  # Any: as click has it
        if not context.meta[_COMMAND_NAMED]:
            _attend(context)
        return super().invoke(context)

    def _first_word(self, args: Sequence[str]) -> str | None:
        """The first argument that is neither an option nor the value of one; None without."""
        valued = {
            name
            for one in self.params
            if isinstance(one, click.Option) and not one.is_flag
            for name in one.opts
        }
        words = iter(args)
        for word in words:
            if word == "--":
                return None
            if not word.startswith("-") or word == "-":
                return word
            if word in valued:
                next(words, None)
        return None


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")


class _Rate(click.ParamType[int]):
    """Bytes a second, written as a size."""

    name = "size"

    # Any: click's own shapes
    def convert(self, given: Any, parameter: click.Parameter | None, context: Any) -> int:
        from strongroom.config.value import parse_size

        try:
            rate = parse_size(given.removesuffix("/s")) if isinstance(given, str) else int(given)
        except ValueError as error:
            self.fail(str(error), parameter, context)
        if rate < _LEAST_RATE:
            self.fail("a limit below 1KiB a second would never end", parameter, context)
        return rate


# Any: click's own parameters
def _remember(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    setattr(context.ensure_object(Run), str(parameter.name), given)


def _reason(context: click.Context, _: click.Parameter, given: str) -> str:
    """What can be written in JSON again, also where the shell has given bytes that are no text, and
    without a password that somebody has put into it: it is kept for ever."""
    reason = given.encode("utf-8", "replace").decode()
    if reason:
        from strongroom.service.masking import masked_prose

        reason = masked_prose(reason)
    context.ensure_object(Run).reason = reason
    return reason


# Any: click's own parameters
_REASON: dict[str, Any] = {
    "default": "",
    "metavar": "TEXT",
    "callback": _reason,
    "help": "Why, for the ledger.",
}
REASON = click.option("--reason", **_REASON)
# For commands whose own records don't hold it: the record of the command does.
NOTED_REASON = click.option("--reason", expose_value=False, **_REASON)


# For commands that only read stores.
STORE_AS_OF = click.option(
    "--store-as-of",
    metavar="TIME",
    callback=_remember,
    expose_value=False,
    help="Read the buckets as they were then, whatever was removed or overwritten since: for S3 "
    "that keeps versions.",
)


def global_options(*, hidden: bool = False) -> list[click.Option]:
    """`--config --json --quiet --verbose` and limits, kept in the run rather than passed on."""
    return [
        click.Option(
            ["-c", "--config"],
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="The configuration; without it the first of $STRONGROOM_CONFIG, "
            "./strongroom.yaml, ~/.config/strongroom/ and /etc/strongroom/.",
            **_kept(hidden),
        ),
        click.Option(
            ["--json"], is_flag=True, help="Answer with one JSON document.", **_kept(hidden)
        ),
        click.Option(
            ["-q", "--quiet"], is_flag=True, help="Only answers and errors.", **_kept(hidden)
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            help="Say what is done, and trace bugs.",
            **_kept(hidden),
        ),
        click.Option(
            ["--state"],
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="The folder of this host's own records, in the place of the configured one.",
            **_kept(hidden=True),
        ),
        click.Option(
            ["--limit-upload"],
            type=_Rate(),
            metavar="SIZE",
            help="Bytes a second to each store, such as 10MiB.",
            **_kept(hidden),
        ),
        click.Option(
            ["--limit-download"],
            type=_Rate(),
            metavar="SIZE",
            help="Bytes a second from each store.",
            **_kept(hidden),
        ),
    ]


def _kept(hidden: bool) -> dict[str, Any]:  # Any: click's own parameters
    return {"callback": _keep, "expose_value": False, "is_eager": True, "hidden": hidden}


def _keep(context: click.Context, parameter: click.Parameter, given: Any) -> None:
    # Any: a path or a flag, as the option says
    run = context.ensure_object(Run)
    if given:
        setattr(run, str(parameter.name), given)
    if run.quiet and run.verbose:
        raise click.UsageError("--quiet and --verbose exclude each other.", context)
    if parameter.name == "verbose" and given:
        _log_to_stderr()


def _log_to_stderr() -> None:
    import logging
    import sys

    from strongroom.cli.text import plain

    class Lines(logging.Formatter):
        """A record and its trace, line by line as a terminal may get them."""

        def format(self, record: logging.LogRecord) -> str:
            return "\n".join(map(plain, super().format(record).split("\n")))

    shape = "%(asctime)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
    logging.getLogger().handlers[0].setFormatter(Lines(shape))
