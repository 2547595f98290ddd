"""`lens`: parses, calls one stage or pipeline function, prints."""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from lens_core import cli_kube, cli_output, cli_pipeline, cli_runs
from lens_core.cli_options import (
    DEFAULT_HOME,
    Config,
    DataFolder,
    Home,
    Output,
    Overrides,
    PreparedData,
    TrackingUri,
    settings_of,
    store_of,
)
from lens_core.cli_output import relative
from lens_core.errors import LensError

if TYPE_CHECKING:
    from lens_core.config import RunConfig
    from lens_core.distributed.workers import Workers

GENERAL = ("--debug", "--quiet", "-q", "--json")
"""Options of every command, which may stand anywhere before `--`."""


class _GeneralOptionsFirst(TyperGroup):
    """Puts the general options where Typer looks for them; people write them behind the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = args[: args.index("--")] if "--" in args else args
        general = [each for each in own if each in GENERAL]
        return super().parse_args(ctx, [*general, *(each for each in own if each not in GENERAL), *args[len(own) :]])


app = typer.Typer(
    cls=_GeneralOptionsFirst,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="LENS-GRPO: reinforcement learning with verifiable rewards that does not waste mistakes.\n\n"
    "Example: lens demo",
)
data_app = typer.Typer(no_args_is_help=True, help="Problems: prepare a run's data, or generate ladder problems.")
base_app = typer.Typer(no_args_is_help=True, help="The demo's base policy.")
recipe_app = typer.Typer(no_args_is_help=True, help="Recipes: whole runs that ship with the package.")
app.add_typer(data_app, name="data")
app.add_typer(base_app, name="base")
app.add_typer(cli_pipeline.app, name="pipeline")
app.add_typer(recipe_app, name="recipe")
app.add_typer(cli_kube.app, name="k8s")
app.add_typer(cli_runs.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lens {metadata.version('lens-grpo')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress: the result alone.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress and result as JSON, one object a line, for logs and programs.")
    ] = False,
) -> None:
    """Options of every command, wherever they stand; `--debug` is read by `main`."""
    cli_output.manner.set(cli_output.Manner(quiet, as_json))


@app.command()
def demo(home: Home = DEFAULT_HOME, tracking_uri: TrackingUri = None, overrides: Overrides = None) -> None:
    """Run the whole pipeline on this machine: train GRPO and LENS on the ladder, compare their Pass@k.

    Example: lens demo --set train.steps=20
    """
    cli_pipeline.run_here("lens", "demo", home, tracking_uri, overrides, registers=False)


@data_app.command("prepare")
def data_prepare(
    output: Output,
    config: Config = "demo",
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Count bad rows and write them aside instead of stopping.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Read, clean and split the problems of a configuration's `data` section.

    Example: lens data prepare -o data/gsm8k -s 'data.train={kind: gsm8k, path: gsm8k/train.jsonl}' -s data.test=null
    """
    from lens_core import stages
    from lens_core.data.summary import read_summary

    extra = ["data.skip_bad_rows=true"] if skip_bad_rows else []
    settings = settings_of(config, [*([] if overrides is None else overrides), *extra])
    with cli_output.progress() as display:
        stages.prepare(settings, output, on_progress=display)
    cli_output.conclude({"data": output, **read_summary(output).model_dump(mode="json")}, str(output))


@data_app.command("card")
def data_card(data: Annotated[Path, typer.Argument(help="Folder made by `lens data prepare`.")]) -> None:
    """Write the folder's data card again: counts, lengths, licences, what was removed and why.

    Example: lens data card data
    """
    from lens_core.report.data_card import render_card

    card = render_card(data, f"Data in {data.name}")
    cli_output.conclude({"card": card}, str(card))


@data_app.command("pass-rates")
def data_pass_rates(
    policy: Annotated[Path, typer.Argument(help="Model folder in Hugging Face format.")],
    data: DataFolder,
    output: Output,
    n: Annotated[int, typer.Option("-n", min=1, help="Completions of each problem.")] = 8,
    config: Config = "demo",
    overrides: Overrides = None,
) -> None:
    """Let a policy answer the training problems, for `data.pass_rate` to choose them by difficulty.

    Example: lens data pass-rates base --data data -o rates, then data.pass_rate={path: rates, low: 0.1, high: 0.9}
    """
    from lens_core import stages

    extra = [f"evaluation.n={n}", "evaluation.ks=[1]"]
    settings = settings_of(config, [*([] if overrides is None else overrides), *extra])
    with cli_output.progress() as display:
        stages.pass_rates(settings, data, policy, output, on_progress=display)
    rollouts = output / stages.ROLLOUTS_FILE
    cli_output.conclude({"rollouts": rollouts}, str(rollouts))


@data_app.command("ladder")
def data_ladder(
    output: Annotated[Path, typer.Option("--output", "-o", help="JSON Lines file to write.")],
    per_level: Annotated[int, typer.Option(min=1, help="Distinct problems of each level.")] = 100,
    level: Annotated[list[int] | None, typer.Option(help="Levels, 1 to 5; default: all. Repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
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
    cli_output.conclude({"problems": written, "file": output}, f"{written} problems in {output}")


@base_app.command("train")
def base_train(
    output: Output, steps: Annotated[int | None, typer.Option(min=1, help="Default: the shipped recipe's.")] = None
) -> None:
    """Make the demo's base policy again: about five minutes on two cores.

    Example: lens base train -o base && lens pipeline run -s base=base
    """
    from lens_core.progress import Progress
    from lens_core.training.base import BaseConfig, train_base

    recipe = BaseConfig() if steps is None else BaseConfig(steps=steps)
    with cli_output.progress() as display:
        train_base(
            recipe,
            output,
            lambda step, loss: display(Progress("train base", step, recipe.steps, f"loss {loss:.3f}")),
        )
    cli_output.conclude({"base": output}, str(output))


@app.command()
def train(
    data: PreparedData = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: runs/NAME/METHOD.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="One of the configuration's methods.")] = "lens",
    config: Config = "demo",
    base: Annotated[
        Path | None, typer.Option(help="Policy to start from; default: the configuration's `base`.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in --output, in the same MLflow run.")
    ] = False,
    workers: Annotated[
        str, typer.Option(help="Processes of a Ray cluster: N, or MIN:MAX for as many as fit; 0: this process.")
    ] = "0",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print configuration, batch arithmetic and memory; touch nothing.")
    ] = False,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Train one method, tracked in MLflow.

    Example: lens train --recipe ladder-cpu --method lens -o policies/lens --set train.steps=50
    """
    from lens_core import stages
    from lens_core.data.summary import SUMMARY_FILE
    from lens_core.tracking import Tracking, whole_run

    settings = settings_of(config, overrides)
    if dry_run:
        from lens_core.plan import plan_training
        from lens_core.report.terminal import print_plan

        plan = plan_training(settings, method, base)

        def show() -> None:
            typer.echo(_yaml(settings), nl=False)
            print_plan(plan)

        cli_output.conclude({"config": settings, "plan": plan}, show)
        return
    folder = Path("runs") / settings.name / method if output is None else output
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (data is None or base is None):
        raise LensError("several processes cannot prepare one folder: run `lens data prepare`, pass --data and --base")
    if not stages.is_main_process():
        assert data is not None
        assert base is not None
        stages.train(settings, method, data, base, folder, resume=resume)
        return
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    with whole_run(tracking), cli_output.progress() as display:
        if data is None:
            data = folder / "data"
            if not (resume and (data / SUMMARY_FILE).exists()):
                stages.prepare(settings, data, tracking, display)
        start = stages.base(settings, folder / "base") if base is None else base
        stages.train(settings, method, data, start, folder, tracking, display, resume, _workers(workers))
    summary = json.loads((folder / stages.TRAINING_FILE).read_text(encoding="utf-8"))
    cli_output.conclude({"policy": folder, **summary}, str(folder))


def _workers(text: str) -> Workers | None:
    from lens_core.distributed.workers import Workers

    workers = Workers.parse(text)
    return workers if workers.most else None


@app.command()
def evaluate(
    policy: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder in Hugging Face format, or a name on the hub.")
    ],
    data: Annotated[Path, typer.Option(help="Folder made by `lens data prepare`, or a JSON Lines file of problems.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: evaluations/LABEL/DATA.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Completions of each problem.")] = None,
    ks: Annotated[str | None, typer.Option("-k", help="Comma-separated k, e.g. 1,2,4,8,16.")] = None,
    label: Annotated[str | None, typer.Option(help="Name in tables; default: the model's name.")] = None,
    config: Config = "demo",
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Sample, grade and report Pass@k of a policy on test problems. Interrupted, the same command goes on.

    Example: lens evaluate policies/lens --data data -n 16 -k 1,2,4,8,16
    """
    from lens_core import stages
    from lens_core.evaluation.records import PassKReport
    from lens_core.report.terminal import print_evaluation
    from lens_core.tracking import Tracking, whole_run

    extra = [] if n is None else [f"evaluation.n={n}"]
    extra += [] if ks is None else [f"evaluation.ks=[{ks}]"]
    settings = settings_of(config, [*([] if overrides is None else overrides), *extra])
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    name = Path(policy).resolve().name if label is None else label
    folder = Path("evaluations") / name / data.resolve().stem if output is None else output
    with whole_run(tracking), cli_output.progress() as display:
        stages.evaluate(settings, name, data, policy, folder, tracking, display)
    report = PassKReport.model_validate_json((folder / stages.PASSK_FILE).read_text(encoding="utf-8"))
    viewer = folder / stages.VIEWER_FILE

    def show() -> None:
        print_evaluation(report)
        typer.echo(f"\nSamples: {relative(viewer)}")

    cli_output.conclude({"evaluation": folder, "viewer": viewer, **report.model_dump(mode="json")}, show)


@app.command()
def compare(
    one: Annotated[Path, typer.Argument(metavar="A", help="Folder of an evaluation.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Folder of another one, on the same problems.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: comparisons/A-vs-B.")
    ] = None,
) -> None:
    """Is B better than A? Paired differences of Pass@k and maj@k over problems, and who wins which problem.

    Example: lens compare evaluations/base/data evaluations/lens/data
    """
    from lens_core import stages
    from lens_core.report.comparison import answer
    from lens_core.report.terminal import print_comparison

    found, folder = stages.compare_evaluations(one, other, output)
    report = folder / stages.REPORT_FILE

    def show() -> None:
        print_comparison(found)
        typer.echo(f"\n{answer(found)}\n\nReport:  {relative(report)}")

    cli_output.conclude({"report": report, "answer": answer(found), **found.model_dump(mode="json")}, show)


@app.command()
def view(folder: Annotated[Path, typer.Argument(help="Folder of an evaluation.")]) -> None:
    """Write the sample viewer of an evaluation again: one HTML file with every completion.

    Example: lens view evaluations/lens/data
    """
    from lens_core import stages

    viewer = stages.view(folder)
    cli_output.conclude({"viewer": viewer}, str(viewer))


@app.command()
def study(
    config: Config = "ladder-quick",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: studies/NAME.")
    ] = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Train every method with every seed, as Ray tasks, and compare them. What is finished is not done again.

    Example: lens study --config ladder-quick -o studies/quick
    """
    from lens_core.report.study import answer
    from lens_core.report.terminal import print_study
    from lens_core.study import study as run_study
    from lens_core.tracking import Tracking, whole_run

    settings = settings_of(config, overrides)
    folder = Path("studies") / settings.name if output is None else output
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    with whole_run(tracking), cli_output.progress() as display:
        found = run_study(settings, folder, tracking, display)
    report = folder / "report.html"

    def show() -> None:
        print_study(found)
        typer.echo(f"\n{answer(found)}\n\nReport:  {relative(report)}")

    cli_output.conclude({"report": report, "answer": answer(found), **found}, show)


@app.command()
def sweep(
    config: Config = "ladder-sweep",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: sweeps/NAME.")
    ] = None,
    data: PreparedData = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Search the values with the best Pass@k on held-out problems. Finished trials are not run again.

    Example: lens sweep --config ladder-sweep -o sweeps/ladder && lens train --config sweeps/ladder/best.yaml
    """
    from lens_core.report.terminal import print_sweep
    from lens_core.sweep import BEST_FILE
    from lens_core.sweep import sweep as run_sweep
    from lens_core.tracking import Tracking, whole_run

    settings = settings_of(config, overrides)
    folder = Path("sweeps") / settings.name if output is None else output
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    with whole_run(tracking), cli_output.progress() as display:
        found = run_sweep(settings, folder, tracking, display, data)
    report, best = folder / "report.html", folder / BEST_FILE

    def show() -> None:
        print_sweep(found)
        typer.echo(f"\nReport:  {relative(report)}\nBest:    {relative(best)}")

    cli_output.conclude({**found, "report": report, "best_config": best}, show)


@recipe_app.command("list")
def recipe_list() -> None:
    """Names of the recipes that ship with the package.

    Example: lens recipe list
    """
    from lens_core.config import recipe_names

    cli_output.conclude(recipe_names(), "\n".join(recipe_names()))


@recipe_app.command("show")
def recipe_show(
    name: Annotated[str, typer.Argument(help="Recipe name or YAML file.")], overrides: Overrides = None
) -> None:
    """Print a recipe as it resolves, every default included.

    Example: lens recipe show demo --set train.steps=20
    """
    settings = settings_of(name, overrides)
    cli_output.conclude(settings, _yaml(settings).rstrip())


def _yaml(settings: RunConfig) -> str:
    import yaml

    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


_INTERRUPTED = 130
"""Typer's exit code after Ctrl-C, the shell's convention of 128 + SIGINT."""


def main() -> None:
    """Entry point: bad input is one line and exit code 2; `--debug` anywhere shows the traceback instead."""
    debug = "--debug" in sys.argv
    os.environ.setdefault("TQDM_DISABLE", "1")  # libraries' bars for every file would run through ours
    try:
        code = app(sys.argv[1:], standalone_mode=False)
    except TyperException as error:
        # A group without a command has printed its help already; Typer counts that among the errors, with no message.
        message = getattr(error, "format_message", error.__str__)().rstrip(".")
        if message:
            _complain(f"{message}; see --help")
        sys.exit(2)
    except LensError as error:
        if debug:
            raise
        _complain(str(error))
        sys.exit(error.exit_code)
    if code == _INTERRUPTED:
        _complain("interrupted; finished steps are kept, and the same command goes on from them")
    sys.exit(code)


def _complain(message: str) -> None:
    typer.echo(f"lens: {' '.join(message.split())}", err=True)


if __name__ == "__main__":
    main()
