"""`config check | sample | schema | explain | show`: what the configuration says and may say."""

from __future__ import annotations

import json

import click

from strongroom.cli.command import Group
from strongroom.cli.run import Run
from strongroom.cli.text import count


@click.group(
    cls=Group,
    name="config",
    examples=("strongroom config check", "strongroom config explain sources.database.jobs"),
)
def config() -> None:
    """Check, explain and show the configuration."""


@config.command(
    examples=("strongroom config check", "strongroom --config new.yaml config check --json")
)
@click.pass_obj
def check(run: Run) -> int:
    """Tell every fault at once, each with its place and remedy.

    Opens no connection and resolves no secret, so that it works on any machine.
    """
    from strongroom.config import find_config, load_settings

    file = find_config(run.config)
    settings = load_settings(file)
    sources = count(len(settings.sources), "source")
    repositories = count(len(settings.repositories), "repository", "repositories")
    document = {
        "config": str(file),
        "application": settings.application,
        "sources": list(settings.sources),
        "repositories": list(settings.repositories),
        "faults": [],
    }
    run.result(document, [f"{file}: no faults; {sources}, {repositories}"])
    return 0


@config.command(
    examples=("strongroom config sample > strongroom.yaml", "strongroom config sample --json")
)
@click.pass_obj
def sample(run: Run) -> int:
    """Print a complete configuration with comments."""
    from strongroom.config.sample import sample_text

    text = sample_text()
    run.result({"sample": text}, text.rstrip("\n").split("\n"))
    return 0


@config.command(
    examples=(
        "strongroom config schema > strongroom.schema.json",
        "strongroom config schema --json",
    )
)
@click.pass_obj
def schema(run: Run) -> int:
    """Print the JSON Schema of the configuration, for editors."""
    from strongroom.config.description import schema_json

    text = schema_json()
    run.result(json.loads(text), text.rstrip("\n").split("\n"))
    return 0


@config.command(
    examples=(
        "strongroom config explain sources.database.jobs",
        "strongroom config explain retention",
    )
)
@click.argument("path")
@click.pass_obj
def explain(run: Run, path: str) -> int:
    """Say what one setting means, takes and defaults to."""
    from strongroom.config.description import explain as explanation

    text = explanation(path)
    run.result({"path": path, "explanation": text}, text.split("\n"))
    return 0


@config.command(examples=("strongroom config show", "strongroom config show --json"))
@click.pass_obj
def show(run: Run) -> int:
    """Print all values as they are in force; secrets stay references."""
    from strongroom.config import load_settings
    from strongroom.config.sample import effective
    from strongroom.config.sample import show as text_of

    settings = load_settings(run.config)
    run.result(effective(settings), text_of(settings).rstrip("\n").split("\n"))
    return 0
