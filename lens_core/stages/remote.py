"""A training, or a sweep, that outlives the process that asked for it: on a volume, by itself or by a RayJob.

A step of a pipeline has a disk of its own, which goes with its pod. What is on a volume stays: a step that is tried
again goes on from the last checkpoint.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lens_core.config import RunConfig, import_paths
from lens_core.errors import LensError
from lens_core.files import write_text
from lens_core.folders import LOCK_FILES
from lens_core.kube.api import Api
from lens_core.kube.kfp_task import trainer_node, with_task
from lens_core.kube.launcher import launch, pod_owner
from lens_core.kube.rayjob import Job
from lens_core.kube.settings import ClusterConfig
from lens_core.progress import Listener, ignore
from lens_core.stages.sweep import WORKING_FILES
from lens_core.stages.training import train
from lens_core.tracking import Tracking, parent_run

_POLICY = "policy"


def train_on_volume(
    config: RunConfig,
    method: str,
    data: Path,
    base_policy: Path,
    output: Path,
    shared: Path,
    tracking: Tracking | None = None,
    on_progress: Listener = ignore,
) -> Path:
    """`train` in `shared`, from its last checkpoint where there is one; `output` gets the policy."""
    folder = shared / method / _POLICY
    train(config, method, data, base_policy, folder, tracking, on_progress, resume=True)
    return _copy_policy(folder, output)


def train_as_rayjob(
    config: RunConfig,
    method: str,
    data: Path,
    base_policy: Path,
    output: Path,
    shared: Path,
    run: str,
    cluster: ClusterConfig,
    task: Mapping[str, Any],
    tracking: Tracking | None = None,
) -> Path:
    """Train in a RayJob of its own, with its log here; `output` gets the policy.

    Args:
        shared: a folder on a volume that this process and the pods of the job see under the same path.
        run: the job is named after it and `method`; called again, this finds the job and stays with it.
        task: settings of this step, passed on to the job (`with_task`).

    Raises:
        LensError: if the job fails, with its last lines.
    """
    folder, cluster = shared / method, _with_volume(cluster, task, shared)
    command = ["lens", "train", "--method", method, "--resume", "--output", str(folder / _POLICY)]
    command += ["--base", str(_copied(base_policy, folder / "base")), "--workers", str(trainers(config, cluster))]
    _run_job(command, f"train {method}", config, data, folder, run, cluster, tracking)
    return _copy_policy(folder / _POLICY, output)


def sweep_as_rayjob(
    config: RunConfig,
    data: Path,
    output: Path,
    shared: Path,
    run: str,
    cluster: ClusterConfig,
    task: Mapping[str, Any],
    tracking: Tracking | None = None,
) -> Path:
    """`sweep` in a RayJob of its own, whose trials share its pods; the same arguments as `train_as_rayjob`.

    `output` gets what is known of the trials. Their policies stay on the volume.

    Raises:
        LensError: if the job fails, with its last lines.
    """
    folder, cluster = shared / "sweep", _with_volume(cluster, task, shared)
    _run_job(
        ["lens", "sweep", "--output", str(folder / "trials")], "sweep", config, data, folder, run, cluster, tracking
    )
    return Path(shutil.copytree(folder / "trials", output, dirs_exist_ok=True, ignore=WORKING_FILES))


def _with_volume(cluster: ClusterConfig, task: Mapping[str, Any], shared: Path) -> ClusterConfig:
    cluster = with_task(cluster, task)
    if not any(shared.is_relative_to(volume.path) and not volume.read_only for volume in cluster.volumes):
        raise LensError(f"{shared} lies on no volume of the job: name one under volumes that can be written to")
    return cluster


def _run_job(
    command: list[str],
    title: str,
    config: RunConfig,
    data: Path,
    folder: Path,
    run: str,
    cluster: ClusterConfig,
    tracking: Tracking | None,
) -> None:
    """Run a `lens` command on `config` and `data`, by copies of them in `folder`, until it has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "config.yaml"
    write_text(settings, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    command = [*command, "--config", str(settings), "--data", str(_copied(data, folder / "data"))]
    command += ["--home", str(folder / "home")]
    if import_paths(config):  # whoever sent the pipeline has allowed them
        command.append("--allow-import")
    if tracking is not None:  # the job's run is nested where the step's would be
        command += ["--tracking-uri", tracking.uri]
        cluster = cluster.model_copy(update={"env": {**cluster.env, "MLFLOW_RUN_ID": parent_run(tracking).run_id}})
    api = Api()
    namespace = api.namespace if cluster.namespace is None else cluster.namespace
    launch(Job(run, title, 0, tuple(command), cluster, namespace, pod_owner()), api)


def _copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, dirs_exist_ok=True))


def trainers(config: RunConfig, cluster: ClusterConfig) -> int:
    """Processes that train: one for each GPU, or pod without any, less those of rollout workers; 0: in the head."""
    node, rollouts = trainer_node(cluster), config.train.rollouts
    if cluster.workers is None and not node.gpus:
        return 0
    total = (1 if cluster.workers is None else cluster.workers.replicas) * max(1, node.gpus)
    if rollouts is None or not node.gpus:
        return total
    return max(1, total - math.ceil(rollouts.workers * (1 if rollouts.gpus_each is None else rollouts.gpus_each)))


def _copy_policy(folder: Path, output: Path) -> Path:
    """All but the checkpoints, which are for whoever goes on with the training."""
    shutil.copytree(folder, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*checkpoint-*", *LOCK_FILES))
    return output
