"""Pipelines by KFP's own local runner."""

from pathlib import Path

from mlflow import MlflowClient

from lens_core.config import RunConfig
from lens_core.kfp.launch import LocalRun, run_local
from lens_core.progress import ignore
from lens_core.tracking import EXPERIMENT
from lens_pipelines.launch import Launch


def run(pipeline: str, config: RunConfig, folder: Path) -> LocalRun:
    return run_local(Launch(config, pipeline, f"sqlite:///{folder}/mlflow.db"), folder / "home", ignore)


def tracked(folder: Path) -> dict[str, str]:
    """Name -> status of the runs in MLflow."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return {each.info.run_name: each.info.status for each in client.search_runs([experiment.experiment_id])}
