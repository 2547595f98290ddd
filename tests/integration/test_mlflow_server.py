"""A team's MLflow: PostgreSQL, an S3 server, basic authentication; all real, each in a folder of its own."""

import os
import pwd
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from moto.server import ThreadedMotoServer

from lens_core.errors import LensError
from lens_core.tracking import Tracking, log_policy, register_champion, stage_run, tracking_for, whole_run
from tests.helpers.ports import free_port
from tests.helpers.prerequisites import missing

pytestmark = pytest.mark.integration

ADMIN, ADMIN_PASSWORD = "admin", "an administrator's password"
USER, PASSWORD = "team", "a long password"
GUEST = "guest"
GRANT, REVOKE = "3.0/mlflow/users/permissions/grant", "3.0/mlflow/users/permissions/revoke"
BUCKET = "lens"


@dataclass(frozen=True)
class Team:
    """Where the servers are."""

    uri: str
    s3: Any


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URI of a database on a PostgreSQL server of our own."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        missing("PostgreSQL", "apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="lens-postgres-") as folder:  # pytest's are closed to other users
        as_user: dict[str, Any] = {}
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam("nobody")
            as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)

        def run(program: str, *arguments: str) -> None:
            command = [binaries[-1] / program, "--pgdata", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)

        port = free_port()
        run("initdb", "--username", "lens", "--auth", "trust", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run("pg_ctl", "--log", f"{folder}/log", "--wait", "--options", options, "start")
        try:
            yield f"postgresql+psycopg://lens@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--mode", "immediate", "stop")


@pytest.fixture(scope="module")
def team(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """An MLflow server with basic authentication over PostgreSQL and an S3 server, and one account."""
    folder, port, s3_port = tmp_path_factory.mktemp("mlflow"), free_port(), free_port()
    moto = ThreadedMotoServer("127.0.0.1", s3_port, verbose=False)
    moto.start()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    endpoint = f"http://127.0.0.1:{s3_port}"
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="key", aws_secret_access_key="secret", region_name="us-east-1"
    )
    s3.create_bucket(Bucket=BUCKET)
    (folder / "auth.ini").write_text(readme_settings(f"sqlite:///{folder}/auth.db"))
    environment = {
        **os.environ,
        **keys,
        "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
        "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--backend-store-uri", postgres, "--artifacts-destination", f"s3://{BUCKET}/artifacts"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 180
        while not answers(uri):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        for name in (USER, GUEST):
            asked(uri, "2.0/mlflow/users/create", username=name, password=PASSWORD)
        yield Team(uri, s3)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        moto.stop()


def readme_settings(database: str) -> str:
    """The server's settings as k8s/README.md has them, with another database."""
    readme = (Path(__file__).parents[2] / "k8s/README.md").read_text("utf-8")
    (text,) = re.findall(r"^cat > basic_auth.ini <<END\n(.*?)^END$", readme, re.MULTILINE | re.DOTALL)
    assert "default_permission = NO_PERMISSIONS" in text
    return re.sub(r"^database_uri = .*$", f"database_uri = {database}", text, flags=re.MULTILINE)


def asked(uri: str, path: str, **values: str) -> None:
    """What an administrator asks of the server."""
    requests.post(f"{uri}/api/{path}", json=values, auth=(ADMIN, ADMIN_PASSWORD), timeout=30).raise_for_status()


def answers(uri: str) -> bool:
    try:
        return requests.get(f"{uri}/health", timeout=1).ok
    except requests.RequestException:
        return False


@pytest.fixture
def signed_in(team: Team, monkeypatch: pytest.MonkeyPatch) -> Team:
    sign_in(monkeypatch, USER)
    return team


def keys_in(team: Team) -> list[str]:
    return [each["Key"] for each in team.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_runs_reach_postgres_and_their_artifacts_s3(signed_in: Team, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    tracking = Tracking(signed_in.uri, "team")
    with whole_run(tracking), stage_run(tracking, "train lens") as run:
        run.metrics({"reward": 0.5}, 3)
        run.artifact(tmp_path / "metrics.jsonl")
    stored = MlflowClient(tracking_uri=signed_in.uri).get_run(run.run_id)
    assert (stored.info.status, stored.data.metrics["reward"]) == ("FINISHED", 0.5)
    assert any(key.endswith(f"{run.run_id}/artifacts/metrics.jsonl") for key in keys_in(signed_in))
    assert any(key.endswith(f"{run.run_id}/artifacts/requirements.txt") for key in keys_in(signed_in))


def test_wrong_password_is_one_line_with_the_remedy(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with (
        pytest.raises(LensError, match="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        stage_run(Tracking(team.uri, "team"), "train"),
    ):
        pass


def sign_in(patch: pytest.MonkeyPatch, name: str) -> None:
    patch.setenv("MLFLOW_TRACKING_USERNAME", name)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


def test_account_sees_and_changes_nothing_of_others_until_it_is_granted(
    signed_in: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, client = Tracking(signed_in.uri, "team"), MlflowClient(tracking_uri=signed_in.uri)
    with stage_run(tracking, "train") as run:
        experiment = client.get_run(run.run_id).info.experiment_id
    sign_in(monkeypatch, GUEST)
    assert [each.name for each in client.search_experiments()] == []
    with pytest.raises(MlflowException, match="Permission denied"):
        client.get_run(run.run_id)
    with pytest.raises(LensError, match="an administrator grants it") as caught, stage_run(tracking, "train"):
        pass
    assert "\n" not in str(caught.value)
    on = {"username": GUEST, "resource_type": "experiment", "resource_id": experiment}
    asked(signed_in.uri, GRANT, permission="READ", **on)
    assert client.get_run(run.run_id).info.status == "FINISHED"
    with pytest.raises(LensError, match="an administrator grants it"), stage_run(tracking, "train"):
        pass
    asked(signed_in.uri, REVOKE, **on)
    asked(signed_in.uri, GRANT, permission="EDIT", **on)
    with stage_run(tracking, "train") as other:
        pass
    assert client.get_run(other.run_id).info.experiment_id == experiment


def test_run_that_kubeflow_opened_is_joined_and_left_running(signed_in: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MlflowClient(tracking_uri=signed_in.uri)
    task = client.create_run(client.create_experiment("kubeflow"), run_name="train-task")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", signed_in.uri)
    monkeypatch.setenv("MLFLOW_RUN_ID", task.info.run_id)
    tracking = tracking_for("", "ours")
    assert tracking is not None
    with whole_run(tracking), stage_run(tracking, "train lens") as run:
        pass
    stored = client.get_run(run.run_id)
    assert stored.data.tags["mlflow.parentRunId"] == task.info.run_id
    assert stored.info.experiment_id == task.info.experiment_id
    assert (stored.info.status, client.get_run(task.info.run_id).info.status) == ("FINISHED", "RUNNING")


def test_uploaded_weights_go_in_parts_and_come_back(
    signed_in: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * 1024**2))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * 1024**2))
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "config.json").write_text("{}")
    (policy / "model.safetensors").write_bytes(os.urandom(6 * 1024**2))
    (policy / "checkpoint-1").mkdir()
    (policy / "checkpoint-1" / "optimizer.pt").write_bytes(b"not to be uploaded")
    with stage_run(Tracking(signed_in.uri, "team"), "register") as run:
        model = log_policy(run, "lens", policy)
        register_champion(run, "lens-parts", model, policy, "---\n---\n# card", "upload", {})
    (weights,) = [key for key in keys_in(signed_in) if key.endswith("model.safetensors")]
    parts = signed_in.s3.head_object(Bucket=BUCKET, Key=weights)["ETag"].strip('"').partition("-")[2]
    assert parts == "2"  # 5 MiB and 1 MiB; an object in one piece has an ETag without a dash
    assert not any("optimizer.pt" in key for key in keys_in(signed_in))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", signed_in.uri)
    back = Path(download_artifacts("models:/lens-parts@champion", dst_path=str(tmp_path / "back")))
    assert (back / "model.safetensors").read_bytes() == (policy / "model.safetensors").read_bytes()
