"""`lens k8s`: a command as a RayJob on a Kubernetes cluster, and what such jobs may leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lens_core.cli.output import conclude, say
from lens_core.errors import LensError

if TYPE_CHECKING:
    from lens_core.kube.rayjob import Job

app = typer.Typer(no_args_is_help=True, help="Kubernetes: run a command as a RayJob, remove orphaned ones.")

Cluster = Annotated[Path, typer.Option("--cluster", help="YAML file of the cluster's settings (docs/rayjob.md).")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override a setting, e.g. workers.replicas=4. Repeatable.")
]
Namespace = Annotated[str | None, typer.Option(help="Default: the kubeconfig's, or this pod's.")]


@app.command("launch")
def launch(
    command: Annotated[list[str], typer.Argument(help="What to run, after `--`.")],
    cluster: Cluster,
    run: Annotated[str, typer.Option(help="Name of the run that the job belongs to.")],
    task: Annotated[str, typer.Option(help="Name of the task within the run.")] = "train",
    attempt: Annotated[int, typer.Option(min=0, max=10**6, help="Raise it to run the same task once more.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the checked manifest; touch nothing.")] = False,
    overrides: Overrides = None,
) -> None:
    """Run a command as a RayJob and stay with it: its log here, its exit as ours, nothing left behind if it fails.

    Example: lens k8s launch --cluster cluster.yaml --run first -- lens train --recipe demo --resume -o /data/first
    """
    from lens_core.kube.launcher import launch as launch_job

    if dry_run:
        _print_manifest(_job(command, cluster, run, task, attempt, overrides, "default"))
        return
    from lens_core.kube.api import Api

    api = Api()
    state = launch_job(_job(command, cluster, run, task, attempt, overrides, api.namespace), api, on_line=say)
    conclude({"dashboard": state.dashboard_url}, f"Dashboard:  {state.dashboard_url}")


@app.command("reap")
def reap(
    namespace: Namespace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be deleted; touch nothing.")] = False,
) -> None:
    """Delete RayJobs of ours whose launcher is gone.

    Example: lens k8s reap --namespace lens --dry-run
    """
    from lens_core.kube.api import Api
    from lens_core.kube.reaper import find_orphans
    from lens_core.kube.reaper import reap as delete

    api = Api()
    orphans = find_orphans(api, api.namespace if namespace is None else namespace)
    if not dry_run:
        delete(api, orphans)
    lines = [f"{each.namespace}/{each.name}: {each.reason}{'' if dry_run else '; deleted'}" for each in orphans]
    conclude({"orphans": orphans, "deleted": not dry_run}, "\n".join(lines or ["no orphaned RayJobs"]))


def _job(
    command: list[str], cluster: Path, run: str, task: str, attempt: int, overrides: list[str] | None, home: str
) -> Job:
    from lens_core.kube.launcher import pod_owner
    from lens_core.kube.rayjob import Job
    from lens_core.kube.settings import load_cluster

    settings = load_cluster(cluster, [] if overrides is None else overrides)
    namespace = home if settings.namespace is None else settings.namespace
    owner = pod_owner()
    if owner is not None and namespace != home:
        raise LensError(f"a job in {namespace} cannot belong to a pod in {home}: leave namespace out of {cluster}")
    return Job(run, task, attempt, tuple(command), settings, namespace, owner)


def _print_manifest(job: Job) -> None:
    import yaml

    from lens_core.kube.rayjob import manifest
    from lens_core.kube.rules import check

    body = manifest(job)
    check(body)
    conclude(body, yaml.safe_dump(body, sort_keys=False, width=110).rstrip())
