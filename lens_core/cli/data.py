"""`lens data`: problems, prepared, described, measured or generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lens_core.cli.options import ConfigOrOwn, DataFolder, Output, Overrides, Own, runnable_settings, settings_of
from lens_core.cli.output import conclude, if_interrupted, progress, warn
from lens_core.errors import LensError
from lens_core.folders import DATA, claimed

app = typer.Typer(no_args_is_help=True, help="Problems: prepare a run's data, or generate ladder problems.")


@app.command("prepare")
def data_prepare(
    output: Output,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "--recipe",
            "-c",
            help="Recipe name or YAML file; default: demo, without its data if -s data.train is given.",
        ),
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Count bad rows and write them aside instead of stopping.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Read, clean and split the problems of a configuration's `data` section.

    Example: lens data prepare -o data/gsm8k -s 'data.train={kind: gsm8k, path: gsm8k/train.jsonl}' -s data.test=null
    """
    from lens_core import stages
    from lens_core.config import key_of
    from lens_core.data.summary import read_summary

    said = [] if overrides is None else overrides
    keys = set(map(key_of, said))
    own = None
    if config is None and "data.train" in keys:
        said = ["data={}", *said]  # the recipe's test problems do not belong to these
        if "data.max_prompt_tokens" in keys:
            own = Own("-s data.max_prompt_tokens=...")
        else:
            config = "demo"
    extra = ["data.skip_bad_rows=true"] if skip_bad_rows else []
    settings = settings_of(config, [*said, *extra], own)
    if_interrupted.set("nothing was written")
    with progress() as display:
        stages.prepare(settings, output, on_progress=display)
    summary = read_summary(output)
    if summary.conflicting:
        warn(summary.conflicts_in_words)
    conclude({"data": output, **summary.model_dump(mode="json")}, str(output))


@app.command("card")
def data_card(data: Annotated[Path, typer.Argument(help="Folder made by `lens data prepare`.")]) -> None:
    """Write the folder's data card again: counts, lengths, licences, what was removed and why.

    Example: lens data card data
    """
    from lens_core.data.summary import read_summary
    from lens_core.report.data_card import render_card

    read_summary(data)  # before the folder is taken for one
    with claimed(data, DATA):
        card = render_card(data, f"Data in {data.name}")
    conclude({"card": card}, str(card))


@app.command("pass-rates")
def data_pass_rates(
    policy: Annotated[Path, typer.Argument(help="Model folder in Hugging Face format.")],
    data: DataFolder,
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="Completions of each problem.")] = 8,
    config: ConfigOrOwn = None,
    overrides: Overrides = None,
) -> None:
    """Let a policy answer the training problems, for `data.pass_rate` to choose them by difficulty.

    Use them with -s 'data.pass_rate={path: rates, low: 0.1, high: 0.9}'.

    Example: lens data pass-rates ladder-base --data data -o rates
    """
    from lens_core import stages

    extra = [f"evaluation.n={n}", "evaluation.ks=[1]"]
    own = Own(str(policy), (policy,))
    settings = runnable_settings(config, [*([] if overrides is None else overrides), *extra], own)
    if_interrupted.set("finished problems are kept, and the same command resumes with the others")
    with progress() as display:
        stages.pass_rates(settings, data, policy, output, on_progress=display)
    rollouts = output / stages.ROLLOUTS_FILE
    conclude({"rollouts": rollouts}, str(rollouts))


@app.command("ladder")
def data_ladder(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON Lines file to write.")],
    per_level: Annotated[int, typer.Option(min=1, max=10**9, help="Distinct problems of each level.")] = 100,
    level: Annotated[list[int] | None, typer.Option(help="Levels, 1 to 5; default: all. Repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
) -> None:
    """Generate problems of the arithmetic ladder, with worked solutions.

    Example: lens data ladder --per-level 1000 --level 3 --level 4 -o ladder.jsonl
    """
    from lens_core.data.ladder import LEVELS, ladder
    from lens_core.data.problem import write_problems

    try:
        problems = ladder(per_level, seed, LEVELS if level is None else level)
    except ValueError as error:
        raise LensError(str(error)) from error
    written = write_problems(problems, output)
    conclude({"problems": written, "file": output}, f"{written} problems in {output}")
