"""Many trainings at once: `lens study` and `lens sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lens_core.cli.options import (
    DEFAULT_HOME,
    Config,
    ConfigOrOwn,
    Home,
    Overrides,
    Own,
    PreparedData,
    TrackingUri,
    runnable_settings,
    store_of,
)
from lens_core.cli.output import conclude, if_interrupted, progress, relative, remark, say
from lens_core.folders import STUDY, SWEEP, claimed

app = typer.Typer()


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
    """Train every method with every seed, as Ray tasks, and compare them. Re-run the same command to resume.

    Example: lens study --config ladder-quick -o studies/quick
    """
    from lens_core.cli.tables import print_study, print_verdict
    from lens_core.evaluation.by_seed import FEWEST_SEEDS
    from lens_core.report.study import verdict
    from lens_core.stages.study import study as run_study
    from lens_core.tracking import Tracking, whole_run

    settings = runnable_settings(config, overrides)
    folder = Path("studies") / settings.name if output is None else output
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    if settings.study is not None and len(settings.study.seeds) < FEWEST_SEEDS:
        remark(f"With fewer than {FEWEST_SEEDS} seeds (study.seeds) no difference can be certain at the 5 % level.")
    if_interrupted.set("finished trainings are kept, and the same command resumes with the others")
    with claimed(folder, STUDY), whole_run(tracking), progress() as display:
        found = run_study(settings, folder, tracking, display)
    report, said = folder / "report.html", verdict(found)

    def show() -> None:
        print_study(found)
        print_verdict(said)
        say(f"\nReport:  {relative(report)}")

    conclude({"report": report, "answer": said.text, **found}, show)


@app.command()
def sweep(
    config: ConfigOrOwn = None,
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
    from lens_core.cli.tables import print_sweep
    from lens_core.stages.sweep import BEST_FILE
    from lens_core.stages.sweep import sweep as run_sweep
    from lens_core.tracking import Tracking, whole_run

    own = Own(None if data is None else f"--data {data}", default="ladder-sweep")
    settings = runnable_settings(config, overrides, own)
    folder = Path("sweeps") / settings.name if output is None else output
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    if_interrupted.set("finished trials are kept, and the same command resumes with the others")
    with claimed(folder, SWEEP), whole_run(tracking), progress() as display:
        found = run_sweep(settings, folder, tracking, display, data)
    report, best = folder / "report.html", folder / BEST_FILE

    def show() -> None:
        print_sweep(found)
        say(f"\nReport:  {relative(report)}\nBest:    {relative(best)}")

    conclude({**found, "report": report, "best_config": best}, show)
