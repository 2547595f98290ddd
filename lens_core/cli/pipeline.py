"""`lens pipeline`: the whole pipeline, run here, compiled, or on a Kubeflow endpoint."""

import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens_core.cli.options import (
    DEFAULT_HOME,
    ConfigOrOwn,
    Home,
    Overrides,
    TrackingServer,
    TrackingUri,
    made_of_options,
    name_of,
    runnable_settings,
    store_of,
)
from lens_core.cli.output import conclude, if_interrupted, progress, relative, remark, say
from lens_core.errors import LeftRunningError, LensError

if TYPE_CHECKING:
    from lens_core.kfp.client import Client
    from lens_core.kfp.launch import LocalRun
    from lens_core.kfp.runs import Run
    from lens_pipelines.launch import Launch

app = typer.Typer(no_args_is_help=True, help="The whole pipeline: run here, compile, or submit to Kubeflow.")
schedule_app = typer.Typer()
app.add_typer(schedule_app, name="schedule")

PipelineName = Annotated[str, typer.Option("--pipeline", help="lens, sweep or evaluate.")]
Cluster = Annotated[
    Path | None, typer.Option("--cluster", help="YAML file of the cluster's settings (docs/rayjob.md).")
]
RayJobs = Annotated[bool, typer.Option("--rayjobs", help="Each training or sweep is a RayJob; needs --cluster.")]
Experiment = Annotated[
    str, typer.Option(help="KFP's experiment; made if there is none.", callback=name_of("--experiment"))
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id or address that `submit` printed.")]
ScheduleId = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Id that `schedule` printed.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the end; exit code 1 if the run fails.")]
Timeout = Annotated[str, typer.Option(help="Longest --wait, such as 90m, 12h, 7d; the run goes on after it.")]


def _client(
    endpoint: Annotated[
        str | None, typer.Option(envvar="KFP_ENDPOINT", help="Address of the KFP API (required).")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="KFP_TOKEN", help="Bearer token; better set in KFP_TOKEN.")
    ] = None,
    cookie: Annotated[
        str | None,
        typer.Option(envvar="KFP_COOKIE", help="authservice_session=... of a login; better set in KFP_COOKIE."),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(envvar="KFP_NAMESPACE", help="Yours, on a Kubeflow of several users.")
    ] = None,
) -> "Client":
    """The client of the endpoint that a command asks."""
    from lens_core.kfp.client import Client
    from lens_core.kfp.connection import Access, Connection

    if endpoint is None:
        raise LensError("there is no KFP endpoint: give --endpoint, or set KFP_ENDPOINT")
    return Client(Connection(Access(endpoint, token, cookie, namespace)))


def _launch(
    pipeline: PipelineName = "lens",
    config: ConfigOrOwn = None,
    cluster: Cluster = None,
    rayjobs: RayJobs = False,
    tracking_uri: TrackingServer = None,
    overrides: Overrides = None,
) -> "Launch":
    """What is compiled, or sent to an endpoint."""
    from lens_core.kube.settings import load_cluster
    from lens_core.tracking import check_shared
    from lens_pipelines.launch import ANY_CLUSTER, Launch

    if tracking_uri:
        check_shared(tracking_uri)
    return Launch(
        runnable_settings(config, overrides),
        pipeline,
        tracking_uri="" if tracking_uri is None else tracking_uri,
        cluster=ANY_CLUSTER if cluster is None else load_cluster(cluster),
        rayjobs=rayjobs,
    )


Connect = Callable[[], "Client"]
Prepare = Callable[[], "Launch"]
at_endpoint = made_of_options(connect=_client)


@app.command("run")
def run(
    pipeline: PipelineName = "lens",
    config: ConfigOrOwn = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Run a pipeline on this machine, as Kubeflow would, with no cluster. Finished steps are reused.

    Example: lens pipeline run --config demo --set train.seed=1 --home .lens
    """
    from lens_pipelines.launch import Launch

    run_here(Launch(runnable_settings(config, overrides), pipeline, store_of(tracking_uri, home)), home)


def run_here(launch: "Launch", home: Path) -> None:
    """`lens pipeline run`, and the demo."""
    from lens_core.kfp.launch import run_local

    if_interrupted.set("finished steps are kept, and the same command resumes after them")
    with progress() as display:
        finished = run_local(launch, home, display)
    uri = launch.tracking_uri
    conclude(
        {"run": finished.name, "report": finished.report, "tracking_uri": uri, **finished.comparison()},
        lambda: _print_result(finished, uri),
    )


@app.command("compile")
def compile_(
    config: ConfigOrOwn = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("compiled"),
    cluster: Cluster = None,
    rayjobs: RayJobs = False,
    tracking_uri: TrackingServer = None,
    overrides: Overrides = None,
) -> None:
    """Compile all pipelines to IR YAML, for upload to a Kubeflow endpoint.

    Example: lens pipeline compile --output compiled --tracking-uri http://mlflow:5000
    """
    from lens_core.kfp.launch import compile_pipelines

    launch = _launch("lens", config, cluster, rayjobs, tracking_uri, overrides)
    paths = compile_pipelines(launch, output)
    conclude({"pipelines": paths}, "\n".join(map(str, paths)))


@app.command("submit")
@made_of_options(connect=_client, prepare=_launch)
def submit(
    connect: Connect,
    prepare: Prepare,
    experiment: Experiment = "lens-grpo",
    wait: Wait = False,
    timeout: Timeout = "30d",
) -> None:
    """Submit the pipeline to a Kubeflow endpoint and print the run's address.

    Example: lens pipeline submit --endpoint http://localhost:8888 --tracking-uri http://mlflow:5000
    """
    from lens_core.kfp.client import submission
    from lens_core.kfp.runs import duration_s

    client, longest_s = connect(), duration_s("--timeout", timeout)
    submitted = client.submit(submission(prepare()), experiment)
    if wait:
        remark(submitted.address)
        _wait(client, submitted.id, longest_s)
    else:
        remark(f"Follow it:  lens pipeline status {submitted.id} --wait")
        conclude({"run_id": submitted.id, "name": submitted.name, "address": submitted.address}, submitted.address)


@app.command("status")
@at_endpoint
def status(run: RunId, connect: Connect, wait: Wait = False, timeout: Timeout = "30d") -> None:
    """Say how far a submitted run is: its tasks with their states and times, and why it failed.

    Example: lens pipeline status 3f0c2a6e-58a1-4c1e-9a3c-6f2d6a6f4c11 --wait
    """
    from lens_core.kfp.runs import duration_s

    client, run_id, longest_s = connect(), _run_id(run), duration_s("--timeout", timeout)
    if wait:
        _wait(client, run_id, longest_s)
    else:
        found = client.run(run_id)
        conclude(found, lambda: _print_run(found))


@app.command("logs")
@at_endpoint
def logs(
    run: RunId,
    connect: Connect,
    task: Annotated[str | None, typer.Option(help="A task's name, as in `lens pipeline status`; default: all.")] = None,
) -> None:
    """Print what a submitted run's tasks have printed so far; needs Kubernetes, by KUBECONFIG or in a pod.

    Example: lens pipeline logs 3f0c2a6e-58a1-4c1e-9a3c-6f2d6a6f4c11 --task train
    """
    from lens_core.kfp.logs import task_logs
    from lens_core.kube.api import Api

    run_id = _run_id(run)
    where = connect().namespace_of(run_id)
    found = task_logs(Api(), where, run_id, task)
    blocks = ["\n".join([f"==> {each.task} ({each.pod}, {each.phase}) <==", *each.lines]) for each in found]
    conclude(found, "\n\n".join(blocks))


@app.command("cancel")
@at_endpoint
def cancel(run: RunId, connect: Connect) -> None:
    """Ask a submitted run to end. One that has ended is left as it is.

    Example: lens pipeline cancel 3f0c2a6e-58a1-4c1e-9a3c-6f2d6a6f4c11
    """
    found = connect().cancel(_run_id(run))
    conclude(found, f"{found.name} is {found.state}")


@schedule_app.callback(invoke_without_command=True)
@made_of_options(connect=_client, prepare=_launch)
def schedule(
    context: typer.Context,
    connect: Connect,
    prepare: Prepare,
    cron: Annotated[
        str | None, typer.Option(help="When, as in a crontab, '0 3 * * *', in the cluster's time zone.")
    ] = None,
    every: Annotated[str | None, typer.Option(help="How often instead: 90m, 12h, 7d.")] = None,
    experiment: Experiment = "lens-grpo",
) -> None:
    """Run the pipeline again and again on a Kubeflow endpoint, anew each time; or list, pause, resume, delete that.

    Example: lens pipeline schedule --cron '0 3 * * 1' --config first.yaml --tracking-uri http://mlflow:5000
    """
    if context.invoked_subcommand is not None:
        return
    from lens_core.kfp.client import submission
    from lens_core.kfp.runs import trigger

    client, starts = connect(), trigger(cron, every)
    made = client.schedule(submission(prepare()), starts, experiment)
    conclude(made, f"{made.id}  {made.when}\n{made.address}")


@schedule_app.command("list")
@at_endpoint
def schedule_list(connect: Connect, experiment: Experiment = "lens-grpo") -> None:
    """List the schedules of an experiment, the newest first.

    Example: lens pipeline schedule list
    """
    found = connect().schedules(experiment)
    lines = [f"{each.id}  {'on    ' if each.is_enabled else 'paused'}  {each.when:<16}  {each.name}" for each in found]
    conclude(found, "\n".join(lines or [f"the experiment {experiment} has no schedules"]))


@schedule_app.command("pause")
@at_endpoint
def schedule_pause(schedule: ScheduleId, connect: Connect) -> None:
    """Start no more runs until it is resumed; a run that is under way goes on.

    Example: lens pipeline schedule pause 8d1b6a0e-7a55-4b8e-8f6e-0f1a2b3c4d5e
    """
    connect().pause(schedule)
    conclude({"schedule": schedule, "is_enabled": False}, f"{schedule} is paused")


@schedule_app.command("resume")
@at_endpoint
def schedule_resume(schedule: ScheduleId, connect: Connect) -> None:
    """Start runs again; those that were missed are left out.

    Example: lens pipeline schedule resume 8d1b6a0e-7a55-4b8e-8f6e-0f1a2b3c4d5e
    """
    connect().resume(schedule)
    conclude({"schedule": schedule, "is_enabled": True}, f"{schedule} is on")


@schedule_app.command("delete")
@at_endpoint
def schedule_delete(schedule: ScheduleId, connect: Connect) -> None:
    """Delete a schedule; runs that it has started stay.

    Example: lens pipeline schedule delete 8d1b6a0e-7a55-4b8e-8f6e-0f1a2b3c4d5e
    """
    connect().delete(schedule)
    conclude({"schedule": schedule, "deleted": True}, f"{schedule} is deleted")


def _run_id(text: str) -> str:
    """Of an id, or of a page's address."""
    return text.rstrip("/").rpartition("/")[2]


def _wait(client: "Client", run_id: str, timeout_s: float) -> None:
    try:
        with progress() as display:
            ended = client.wait(run_id, display, timeout_s=timeout_s)
    except KeyboardInterrupt:
        raise LeftRunningError(
            f"run {run_id} goes on without being waited for: lens pipeline status {run_id} --wait waits again, "
            f"lens pipeline cancel {run_id} ends it"
        ) from None
    conclude(ended, lambda: _print_run(ended))
    if not ended.has_succeeded:
        raise typer.Exit(1)


def _print_run(run: "Run") -> None:
    from rich.table import Table

    from lens_core.cli.console import PlainConsole

    say(f"{run.name}  {run.state}  {_span(run.created, run.ended)}\n{run.address}")
    if run.tasks:
        table = Table("task", "state", "began and took")
        for task in run.tasks:
            table.add_row(task.name, task.state, _span(task.started, task.ended))
        PlainConsole(140).print(table)
    if run.error is not None:
        say(f"Failed: {run.error}\nLogs:   lens pipeline logs {run.id}")


def _span(began: datetime | None, ended: datetime | None) -> str:
    """When something began, in local time, and how long it took or has been taking."""
    if began is None:
        return ""
    until = datetime.now(UTC) if ended is None else ended
    return f"{began.astimezone():%Y-%m-%d %H:%M}, {timedelta(seconds=round((until - began).total_seconds()))}"


def _print_result(run: "LocalRun", tracking_uri: str) -> None:
    from lens_core.cli.tables import print_tables, print_verdict
    from lens_core.config import parse
    from lens_core.evaluation.records import PassKReport
    from lens_core.evaluation.verdict import Verdict

    found = run.comparison()
    print_tables([parse(PassKReport, report, str(run.folder)) for report in found["evaluations"]])
    if "verdict" in found:
        print_verdict(parse(Verdict, found["verdict"], str(run.folder)))
    mlflow = relative(Path(sys.executable).with_name("mlflow"))
    store = f"sqlite:///{relative(Path(tracking_uri.removeprefix('sqlite:///')))}"
    say(f"\nReport:  {relative(run.report)}")
    if tracking_uri.startswith("sqlite:///"):
        say(f"MLflow:  {shlex.join([str(mlflow), 'ui', '--backend-store-uri', store])}")
    else:
        say(f"MLflow:  {tracking_uri}")
