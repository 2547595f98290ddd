"""`lens recipe`: whole runs that ship with the package, and what can be set in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens_core.cli.options import Overrides, settings_of
from lens_core.cli.output import conclude

if TYPE_CHECKING:
    from lens_core.config import RecipeRow, RunConfig
    from lens_core.config.reference import Setting

app = typer.Typer(no_args_is_help=True, help="Recipes: whole runs that ship with the package.")


@app.command("list")
def recipe_list() -> None:
    """List the recipes that ship with the package: model, data, hardware, hours per method, source of the values.

    Example: lens recipe list
    """
    from lens_core.config import recipe_rows

    found = recipe_rows()
    rows = [
        {"name": name, "model": row.model, "data": row.data, **row.about.model_dump()} for name, row in found.items()
    ]
    conclude(rows, lambda: _print_recipes(found))


@app.command("show")
def recipe_show(
    name: Annotated[str, typer.Argument(help="Recipe name or YAML file.")], overrides: Overrides = None
) -> None:
    """Print a recipe as it resolves, every default included.

    Example: lens recipe show demo --set train.steps=20
    """
    settings = settings_of(name, overrides)
    conclude(settings, as_yaml(settings).rstrip())


@app.command("shrink")
def recipe_shrink(
    name: Annotated[str, typer.Argument(help="Recipe name or YAML file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="YAML file to write; its model and data go into a folder beside it.")
    ],
    overrides: Overrides = None,
) -> None:
    """Make a recipe small enough to rehearse on a CPU in minutes: the same code paths, a random model, a few rows.

    Example: lens recipe shrink qwen2.5-3b-math-dapo -o tiny.yaml && lens train --recipe tiny.yaml -o tiny-policy
    """
    from lens_core.stages.shrink import shrink

    shrink(settings_of(name, overrides), output)
    conclude({"recipe": output}, str(output))


@app.command("explain")
def recipe_explain(
    key: Annotated[
        str | None, typer.Argument(help="Key path, e.g. train.clip, or a section, e.g. train; default: all.")
    ] = None,
) -> None:
    """Explain what can be set in a recipe: type, default, range and meaning.

    Example: lens recipe explain train.mask_truncated
    """
    from lens_core.config import RunConfig
    from lens_core.config.reference import explain, objective_settings, settings_of

    settings = settings_of(RunConfig)
    if key is None or key.startswith("methods"):
        settings += objective_settings()  # which load torch
    found = settings if key is None else explain(settings, key)
    conclude(found, "\n".join(_in_words(each) for each in found))


def as_yaml(settings: RunConfig) -> str:
    """A configuration with every value, as a recipe says it."""
    import yaml

    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _print_recipes(recipes: Mapping[str, RecipeRow]) -> None:
    """Each line begins with a name, except where a terminal is too narrow for the line."""
    from rich.table import Table

    from lens_core.cli.console import PlainConsole

    table = Table("recipe", "model", "data", "hardware", "hours", "source", box=None, pad_edge=False)
    for name, row in recipes.items():
        table.add_row(name, row.model, row.data, row.about.hardware, row.about.hours, row.about.source)
    PlainConsole(1000).print(table)


def _in_words(setting: Setting) -> str:
    allowed = f"{setting.type} {setting.range}".rstrip()
    default = "required" if setting.default == "required" else f"default {setting.default}"
    return f"{setting.path}\n    {allowed}, {default}\n    {setting.meaning}"
