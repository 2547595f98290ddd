"""`lens evaluate`, and what is made of evaluations: `lens compare` and `lens view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lens_core.cli.options import (
    DEFAULT_HOME,
    ConfigOrOwn,
    Home,
    Overrides,
    Own,
    TrackingUri,
    runnable_settings,
    store_of,
)
from lens_core.cli.output import conclude, if_interrupted, progress, relative, say, warn
from lens_core.folders import EVALUATION, claimed

app = typer.Typer()


@app.command()
def evaluate(
    policy: Annotated[
        str, typer.Argument(metavar="MODEL", help="Folder in Hugging Face format, a name on the hub, or ladder-base.")
    ],
    data: Annotated[Path, typer.Option(help="Folder made by `lens data prepare`, or a JSON Lines file of problems.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: evaluations/LABEL/DATA.")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="Completions of each problem.")] = None,
    ks: Annotated[str | None, typer.Option("-k", help="Comma-separated k, e.g. 1,2,4,8,16.")] = None,
    label: Annotated[str | None, typer.Option(help="Name in tables; default: the model's name.")] = None,
    config: ConfigOrOwn = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Sample, grade and report Pass@k of a policy on test problems. Re-run the same command to resume.

    Example: lens evaluate policies/lens --data data -n 16 -k 1,2,4,8,16
    """
    from lens_core import stages
    from lens_core.cli.tables import print_evaluation
    from lens_core.config import checked_name
    from lens_core.evaluation.metrics import cut_off_warning
    from lens_core.evaluation.records import read_report
    from lens_core.tracking import Tracking, whole_run

    name = checked_name(Path(policy).resolve().name if label is None else label, "--label")
    extra = [] if n is None else [f"evaluation.n={n}"]
    extra += [] if ks is None else [f"evaluation.ks=[{ks}]"]
    settings = runnable_settings(config, [*([] if overrides is None else overrides), *extra], Own(policy, (policy,)))
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    folder = Path("evaluations") / name / data.resolve().stem if output is None else output
    if_interrupted.set("finished problems are kept, and the same command resumes with the others")
    with claimed(folder, EVALUATION), whole_run(tracking), progress() as display:
        stages.evaluate(settings, name, data, policy, folder, tracking, display)
    report = read_report(folder)
    viewer, cut_off = folder / stages.VIEWER_FILE, cut_off_warning(report)
    if cut_off is not None:
        warn(f"{cut_off} It is {settings.evaluation.max_new_tokens}: -s evaluation.max_new_tokens=...")

    def show() -> None:
        print_evaluation(report)
        say(f"\nSamples: {relative(viewer)}")

    conclude({"evaluation": folder, "viewer": viewer, **report.model_dump(mode="json")}, show)


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
    from lens_core.cli.tables import print_comparison, print_verdict
    from lens_core.evaluation.by_problem import verdict

    found, folder = stages.compare_evaluations(one, other, output)
    report, said = folder / stages.REPORT_FILE, verdict([found])

    def show() -> None:
        print_comparison(found)
        print_verdict(said)
        say(f"\nReport:  {relative(report)}")

    conclude({"report": report, "answer": said.text, **found.model_dump(mode="json")}, show)


@app.command()
def view(folder: Annotated[Path, typer.Argument(help="Folder of an evaluation.")]) -> None:
    """Write the sample viewer of an evaluation again: one HTML file with every completion.

    Example: lens view evaluations/lens/data
    """
    from lens_core import stages

    viewer = stages.view(folder)
    conclude({"viewer": viewer}, str(viewer))
