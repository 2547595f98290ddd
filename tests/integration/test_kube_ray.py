"""RayJobs on a real Ray cluster: the launcher talks to an API server over HTTP, a small operator plays KubeRay."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import dsl
from mlflow import MlflowClient

from lens_components.sweep.component import sweep_as_rayjob
from lens_components.train.component import train_as_rayjob
from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.errors import LensError
from lens_core.kube.api import Api
from lens_core.kube.launcher import launch
from lens_core.kube.rayjob import Job
from lens_core.kube.settings import ClusterConfig
from lens_core.kube.status import Phase
from lens_core.stages.shrink import shrink
from lens_core.tracking import EXPERIMENT
from lens_core.training.metrics_file import read_metrics
from tests.helpers.fakes import save_tiny_policy
from tests.helpers.kube_server import KubeServer
from tests.helpers.mini_operator import MiniOperator
from tests.helpers.ray_head import TOKEN, Head
from tests.helpers.recipes import PAPERS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    with KubeServer(token="one").running() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.write_kubeconfig(tmp_path)))
        yield server


@pytest.fixture
def operator(kube: KubeServer, head: Head, tmp_path: Path) -> Iterator[MiniOperator]:
    environment = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with MiniOperator(kube, head.jobs, TOKEN, environment).running() as running:
        yield running


def job(*command: str, **settings: Any) -> Job:
    cluster = ClusterConfig.model_validate({"image": "lens:1", "lease_s": 4, **settings})
    return Job("r", "train", 0, command, cluster, "lens")


def python(code: str) -> tuple[str, ...]:
    return ("python", "-c", code)


RAY_TASK = """
import ray
ray.init(log_to_driver=False)
@ray.remote
def double(x):
    return 2 * x
print('the task says', ray.get(double.remote(21)), flush=True)
"""


def test_job_runs_on_ray_and_its_log_arrives(operator: MiniOperator) -> None:
    lines: list[str] = []
    state = launch(job(*python(RAY_TASK)), Api(), lines.append)
    assert state.phase is Phase.SUCCEEDED
    assert "the task says 42" in lines


def test_log_comes_from_ray_where_no_pod_submits(operator: MiniOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    lines: list[str] = []
    settings = {"submission": "HTTPMode", "token_secret": "t"}
    launch(job(*python("print('one'); print('two')"), **settings), Api(), lines.append)
    assert [line for line in lines if line in ("one", "two")] == ["one", "two"]


def test_crash_is_told_with_its_last_words(operator: MiniOperator, kube: KubeServer) -> None:
    with pytest.raises(LensError, match=r"AppFailed.*code 3.*its last lines: .*out of luck") as caught:
        launch(job(*python("import sys; print('out of luck'); sys.exit(3)")), Api(), lambda line: None)
    assert "Traceback" not in str(caught.value)
    assert not [key for key in kube.objects if key[0] in ("rayjobs", "leases", "pods")]


def test_job_that_is_stopped_elsewhere_is_no_success(operator: MiniOperator) -> None:
    with ThreadPoolExecutor(1) as pool:
        launched = pool.submit(launch, job(*python("import time; time.sleep(60)")), Api(), lambda line: None)
        name = operator.kube.wait_for_job()
        operator.client.stop_job(operator.job_id(name))
        with pytest.raises(LensError, match=r"stopped \(Complete, STOPPED\)"):
            launched.result(timeout=50)


def test_queued_job_starts_when_it_is_admitted(operator: MiniOperator, kube: KubeServer) -> None:
    with ThreadPoolExecutor(1) as pool:
        launched = pool.submit(launch, job("true", queue="gpus"), Api(), lambda line: None)
        name = kube.wait_for_job()
        kube.wait_for(lambda: (kube.get("rayjobs", name) or {}).get("status") == {"jobDeploymentStatus": "Suspended"})
        assert not launched.done()
        Api().patch_job("lens", name, {"spec": {"suspend": False}})  # as Kueue does
        assert launched.result(timeout=50).phase is Phase.SUCCEEDED


@contextmanager
def launch_command(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """`lens k8s launch`; what is left of it at the end of the block is killed."""
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"image": "lens:1", "lease_s": 4, "grace_s": 60}))
    line = [sys.executable, "-m", "lens_core.cli", "k8s", "launch", "--cluster", str(folder / "cluster.yaml")]
    with subprocess.Popen([*line, "--run", "r", "--", *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


SMALL = ["train.steps=2", "train.prompts_per_step=2", "train.group_size=2", "train.max_new_tokens=4",
         "train.warmup_steps=0", "data.train.per_level=4", "data.test.per_level=1"]  # fmt: skip
GRACEFUL = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1]).write_text('ended in peace')
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('ready', flush=True)
time.sleep(300)
"""


def test_terminated_launcher_ends_the_job(operator: MiniOperator, kube: KubeServer, tmp_path: Path) -> None:
    with launch_command(tmp_path, *python(GRACEFUL), str(tmp_path / "words")) as process:
        name = kube.wait_for_job()
        kube.wait_for(lambda: any("ready" in line for line in kube.logs.get(f"{name}-0", [])), timeout_s=50)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=50)
    assert process.returncode == 143
    assert f"RayJob {name} and all that it owned are deleted" in output
    assert (tmp_path / "words").read_text() == "ended in peace"


TRAINING = """
import sys
from pathlib import Path
from lens_core import stages
from lens_core.config import RunConfig, load_config
folder = Path(sys.argv[1])
settings = load_config(folder / 'run.yaml')
stages.train(settings, 'm', folder / 'data', folder / 'base', folder / 'policy', resume=True)
"""
"""As `lens train --resume` does, without MLflow."""


@pytest.mark.long
def test_dead_launchers_training_writes_a_checkpoint_and_ends(
    operator: MiniOperator, kube: KubeServer, tmp_path: Path
) -> None:
    """The dead man's switch: `kill -9` of the launcher, and nobody else is told."""
    save_tiny_policy(tmp_path / "base")
    sizes = {"steps": 100_000, "prompts_per_step": 2, "group_size": 2, "max_new_tokens": 4, "warmup_steps": 0}
    data = {"train": {"kind": "ladder", "per_level": 4}, "test": None}
    run = {"extends": "demo", "methods": {"m": {"objective": "nsr"}}, "train": sizes, "data": data}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    stages.prepare(load_config(tmp_path / "run.yaml"), tmp_path / "data")
    policy = tmp_path / "policy"
    with launch_command(tmp_path, *python(TRAINING), str(tmp_path)) as process:
        name = kube.wait_for_job()
        kube.wait_for(lambda: policy.exists() and len(read_metrics(policy)) > 2, timeout_s=100)
        process.kill()

    def failed() -> bool:
        return (kube.get("rayjobs", name) or {})["status"]["jobDeploymentStatus"] == "Failed"

    kube.wait_for(failed, timeout_s=100)
    rayjob = kube.get("rayjobs", name)
    assert rayjob is not None
    assert "75" in rayjob["status"]["message"]
    log = "\n".join(kube.logs[f"{name}-0"])
    assert f"the launcher is gone: Lease {name} not renewed for 4 s" in log
    assert "was asked to stop, and did: go on with --resume" in log
    (checkpoint,) = policy.glob("checkpoint-*")
    assert f"checkpoint-{int(read_metrics(policy)[-1]['step'])}" == checkpoint.name


@pytest.mark.long
def test_step_of_a_pipeline_trains_as_a_rayjob_and_brings_the_policy_back(
    operator: MiniOperator, kube: KubeServer, tmp_path: Path
) -> None:
    """The component's own function; what KFP's server would put into its TaskConfig is given."""
    base, volume = save_tiny_policy(tmp_path / "base"), tmp_path / "volume"
    volume.mkdir()
    config = load_config("demo", [*SMALL, "methods={m: {objective: nsr}}", "train.checkpoint_every=1"])
    stages.prepare(config, tmp_path / "data")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    task = dsl.TaskConfig(
        resources={"requests": {"cpu": "3", "memory": "5Gi"}, "limits": {"cpu": "3", "memory": "5Gi"}},
        node_selector={"zone": "a"},
        env=[{"name": "SEEN", "value": "by the job"}],
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "lens-data"}}],
        volume_mounts=[{"name": "v", "mountPath": str(volume)}],
    )
    policy = dsl.Model(uri=str(tmp_path / "output"))
    train_as_rayjob.python_func(
        config=config.model_dump_json(),
        method="m",
        run="whole",
        tracking_uri=uri,
        shared=str(volume / "pipelines"),
        cluster=ClusterConfig(image="lens:1", lease_s=4).model_dump_json(),
        data=dsl.Dataset(uri=str(tmp_path / "data")),
        base=dsl.Model(uri=str(base)),
        policy=policy,
        task_config=task,
    )
    assert (tmp_path / "output/model.safetensors").exists()
    assert len(read_metrics(tmp_path / "output")) == 2
    assert not list((tmp_path / "output").glob("checkpoint-*"))
    assert policy.metadata == {"method": "m", "config_sha256": config.digest()}
    (name,) = [name for plural, _, name in kube.objects if plural == "rayjobs"]
    pod = (kube.get("rayjobs", name) or {})["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "3", "memory": "5Gi"}
    assert pod["nodeSelector"] == {"zone": "a"}
    assert {"name": "SEEN", "value": "by the job"} in pod["containers"][0]["env"]
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"whole", "train m"}
    assert runs["train m"].data.tags["mlflow.parentRunId"] == runs["whole"].info.run_id
    # What a step that is tried again would go on from.
    assert len(list((volume / "pipelines/whole/m/policy").glob("checkpoint-*"))) == 2


@pytest.mark.long
@pytest.mark.parametrize("recipe", PAPERS)
def test_paper_recipe_in_miniature_trains_as_a_rayjob(
    recipe: str, operator: MiniOperator, kube: KubeServer, tmp_path: Path
) -> None:
    config = shrink(load_config(recipe), tmp_path / "tiny.yaml")
    stages.prepare(config, tmp_path / "data")
    task = dsl.TaskConfig(
        resources={},
        node_selector={},
        env=[],
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "lens-data"}}],
        volume_mounts=[{"name": "v", "mountPath": str(tmp_path)}],
    )
    train_as_rayjob.python_func(
        config=config.model_dump_json(),
        method="lens",
        run="whole",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        shared=str(tmp_path / "volume"),
        cluster=ClusterConfig(image="lens:1", lease_s=4).model_dump_json(),
        data=dsl.Dataset(uri=str(tmp_path / "data")),
        base=dsl.Model(uri=config.base),
        policy=dsl.Model(uri=str(tmp_path / "output")),
        task_config=task,
    )
    assert len(read_metrics(tmp_path / "output")) == config.train.steps
    assert (tmp_path / "output/model.safetensors").exists()


@pytest.mark.long
def test_step_of_a_pipeline_sweeps_as_a_rayjob_and_brings_the_best_back(
    operator: MiniOperator, kube: KubeServer, tmp_path: Path
) -> None:
    volume, space = tmp_path / "volume", "{train.learning_rate: {choice: [1.0e-3, 1.0e-4]}}"
    volume.mkdir()
    swept = ["method=m", f"space={space}", "search=grid", "scheduler=none", "validate_every=1"]
    evaluated = ["evaluation.n=2", "evaluation.ks=[1]", "evaluation.max_new_tokens=8", "data.validation=4"]
    config = load_config(
        "ladder-sweep",
        [
            *SMALL,
            *evaluated,
            *(f"sweep.{each}" for each in swept),
            f"base={save_tiny_policy(tmp_path / 'base')}",
            "methods={m: {objective: nsr}}",
            "train.max_tokens=null",
        ],
    )
    stages.prepare(config, tmp_path / "data")
    task = dsl.TaskConfig(
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "lens-data"}}],
        volume_mounts=[{"name": "v", "mountPath": str(volume)}],
    )
    report = dsl.HTML(uri=str(tmp_path / "report.html"))
    best = sweep_as_rayjob.python_func(
        config=config.model_dump_json(),
        seeds=[3.0, 4.0],
        run="tuned",
        tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        shared=str(volume / "pipelines"),
        cluster=ClusterConfig(image="lens:1", lease_s=4).model_dump_json(),
        data=dsl.Dataset(uri=str(tmp_path / "data")),
        trials=dsl.Artifact(uri=str(tmp_path / "trials")),
        report=report,
        task_config=task,
    )
    assert list(RunConfig.model_validate_json(best).methods) == ["m-s3", "m-s4"]
    assert "<html" in Path(report.path).read_text()
    trials = json.loads((tmp_path / "trials/sweep.json").read_text())["trials"]
    assert [trial["status"] for trial in trials] == ["finished", "finished"]
    # Their policies stay on the volume.
    assert len(list((volume / "pipelines/tuned/sweep/trials").rglob("policy/model.safetensors"))) == 2
    assert not list((tmp_path / "trials").rglob("model.safetensors"))
