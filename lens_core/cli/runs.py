"""Commands about what is tracked (`register`, `runs`, `ui`), and `doctor` about what every command needs."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
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
    name_of,
    settings_of,
    store_of,
)
from lens_core.cli.output import conclude, remark, say
from lens_core.errors import LensError
from lens_core.folders import REGISTRATION, claimed
from lens_core.processes import exec_guarded, python

app = typer.Typer()


class WeightsChoice(StrEnum):
    """What becomes of a registered policy's files."""

    reference = "reference"
    upload = "upload"


@app.command()
def register(
    policy: Annotated[Path, typer.Argument(help="Policy folder.")],
    evaluation: Annotated[Path, typer.Option(help="Folder that `lens evaluate` wrote for it.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the model card; default: beside the evaluation.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in the registry; default: lens-CONFIGURATION.", callback=name_of("--name"))
    ] = None,
    weights: Annotated[
        WeightsChoice, typer.Option(help="Note where the files lie, or copy them into MLflow's artifact store.")
    ] = WeightsChoice.reference,
    k: Annotated[int | None, typer.Option("-k", min=1, help="Pass@k to compare; default: the smallest.")] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", "--license", help="SPDX identifier for the model card, e.g. apache-2.0.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Evaluation of the policy to beat; default: the champion's. The first of its name needs its base's."
        ),
    ] = None,
    config: ConfigOrOwn = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    overrides: Overrides = None,
) -> None:
    """Register a policy as `champion`, if its Pass@k beats the present champion's; exit code 1 if it does not.

    The first of its name has to beat the base that it was trained from.

    Example: lens register policies/lens --evaluation evaluations/lens/data --against evaluations/base/data
    """
    from lens_core.stages.registration import policy_bytes
    from lens_core.stages.registration import register as register_policy
    from lens_core.tracking import MODEL_CARD_FILE, Tracking, whole_run

    settings = settings_of(config, overrides, Own(str(policy), (policy,)))
    tracking = Tracking(store_of(tracking_uri, home), settings.name)
    folder = evaluation / "registration" if output is None else output
    if weights is WeightsChoice.upload:
        size = policy_bytes(policy) / 1e6
        remark(f"{size:,.1f} MB of weights go to MLflow's artifact store if the gate is passed")
    with claimed(folder, REGISTRATION), whole_run(tracking):
        found = register_policy(
            settings, policy, evaluation, folder, tracking, name, weights.value, k, licence, against
        )
    card = folder / MODEL_CARD_FILE
    conclude({"card": card, **found}, f"{found['text']}\nCard:    {card}")
    if found["version"] is None:
        raise typer.Exit(1)


@app.command()
def runs(
    compare: Annotated[
        list[str] | None, typer.Argument(metavar="[A B]", help="Two runs to compare: ids, or RUN/STAGE.")
    ] = None,
    newest: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Pipeline runs to list.")] = 10,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
) -> None:
    """List the newest runs, or compare two: parameters that differ, and all metrics.

    Example: lens runs && lens runs 'demo/train grpo' 'demo/train lens'
    """
    from lens_core.cli.tables import print_runs, print_two_runs
    from lens_core.tracking import find_run, list_runs

    uri = store_of(tracking_uri, home)
    names = [] if compare is None else compare
    if len(names) not in (0, 2):
        raise LensError(f"`lens runs` takes no run or two to compare, not {len(names)}")
    found = [find_run(uri, each) for each in names] if names else list_runs(uri, newest)
    if names:
        conclude(found, lambda: print_two_runs(*found))
    elif found:
        conclude(found, lambda: print_runs(found))
    else:
        conclude(found, f"nothing is tracked in {uri} yet; `lens demo` makes a first run")


@app.command()
def ui(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
) -> None:
    """Serve MLflow on the store of --home until Ctrl-C, and print the address of the runs' charts.

    Example: lens ui --port 5001
    """
    from lens_core.tracking import EXPERIMENT, charts_page, list_runs

    uri = store_of(tracking_uri, home)
    if uri.startswith(("http://", "https://")):
        page = charts_page(uri, uri)
        conclude({"address": page}, page)
        return
    list_runs(uri, 1)  # makes the store, and closes runs that were killed
    shown = "127.0.0.1" if host == "0.0.0.0" else host
    page = charts_page(f"http://{shown}:{port}", uri)
    say(f"MLflow:  {page}\n         experiment {EXPERIMENT}, {uri}; Ctrl-C ends it")
    sys.stdout.flush()
    command = python("-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", host, "--port", str(port))
    command += ["--workers", "1"]  # for one person; each takes seconds to start, and a few hundred MB
    environment = {
        # MLflow's jobs judge traces by language models, which nothing here asks for, and take seven processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "UVICORN_APP_DIR": os.devnull,  # else the working directory, in front of all that it imports
    }
    exec_guarded(command, {**os.environ, **environment})


@app.command()
def doctor(
    kfp_endpoint: Annotated[str | None, typer.Option(envvar="KFP_ENDPOINT", help="Address of the KFP API.")] = None,
    home: Home = DEFAULT_HOME,
    tracking_uri: TrackingUri = None,
    cluster: Annotated[
        Path | None, typer.Option("--cluster", help="Check the cluster for these settings too (docs/namespace.md).")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Of the cluster; default: the file's, or KUBECONFIG's.")] = None,
) -> None:
    """Check Python, packages, GPU, memory, disk, Ray, MLflow and KFP, and say how to mend each. Exit code 1: broken.

    Example: lens doctor --tracking-uri http://mlflow:5000
    """
    from lens_core.cli.doctor import examine
    from lens_core.cli.tables import print_checks

    checks = examine(home, store_of(None, home) if tracking_uri is None else tracking_uri, kfp_endpoint)
    if cluster is not None:
        from lens_core.cli.namespace import examine_namespace

        checks += examine_namespace(cluster, namespace)
    conclude(checks, lambda: print_checks(checks))
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)
