"""`lens pipeline` against an HTTP server that speaks KFP's v2beta1 API, with its faults and its credentials."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp_server_api as kfp
import pytest

from lens_core.cli import doctor, main
from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.kfp.client import Client, Submission, submission
from lens_core.kfp.connection import Access, Connection
from lens_core.kfp.logs import task_logs
from lens_core.kfp.runs import trigger
from lens_core.kfp.versions import missing
from lens_core.kube.api import Api
from lens_core.kube.settings import load_cluster
from lens_core.progress import Progress, ignore
from lens_pipelines.launch import Launch
from tests.helpers.kfp_server import BEGUN, Fault, KfpServer, answer, error, hang_up, silence, task
from tests.helpers.kube_server import KubeServer

pytestmark = pytest.mark.integration
SECRET = "s3cr3t-t0ken"
COOKIE = "authservice_session=MTc0c2Vzc2lvbg"


@pytest.fixture(scope="module")
def demo() -> Submission:
    return submission(Launch(load_config("demo")))


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer().running() as running:
        yield running


@pytest.fixture
def lens(
    server: KfpServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """Exit code, stdout and stderr of `lens pipeline ARGUMENTS` with the server as endpoint."""
    monkeypatch.setenv("KFP_ENDPOINT", server.address)

    def call(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["lens", "pipeline", *arguments])
        with pytest.raises(SystemExit) as left:
            main.main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return call


def client(server: KfpServer, timeout_s: float = 5, **access: Any) -> Client:
    return Client(Connection(Access(server.address + "/", **access), patience_s=5, timeout_s=timeout_s))


def pipeline_in(made: Any) -> Any:
    """Of a run or a schedule, without what is Kubernetes' own."""
    return made.pipeline_spec["pipeline_spec"]


def end_as(state: str) -> Callable[[Any], None]:
    """Brings a run into `state`."""

    def end(run: Any) -> None:
        run.state, run.finished_at = state, BEGUN + timedelta(minutes=5)

    return end


# --- submitting ---


def test_submit_starts_a_run_with_the_pipeline_and_its_parameters(server: KfpServer) -> None:
    server.token = SECRET
    config = load_config("demo")
    found = client(server, token=SECRET).submit(submission(Launch(config, tracking_uri="http://mlflow:5000")))
    run = server.runs["r1"]
    assert (found.id, found.address) == ("r1", f"{server.address}/#/runs/details/r1")
    assert pipeline_in(run)["pipelineInfo"]["name"] == "lens-pipeline"
    assert server.experiments[run.experiment_id].display_name == "lens-grpo"
    parameters = run.runtime_config.parameters
    assert parameters["methods"] == ["grpo", "lens"]
    assert parameters["tracking_uri"] == "http://mlflow:5000"
    assert type(config).model_validate_json(parameters["config"]) == config


def test_second_run_goes_into_the_same_experiment(server: KfpServer) -> None:
    config = load_config("demo")
    for _ in range(2):
        client(server).submit(submission(Launch(config)), "mine")
    assert [each.display_name for each in server.experiments.values()] == ["mine"]
    assert {each.experiment_id for each in server.runs.values()} == {"e1"}


def test_namespace_is_that_of_the_experiment(server: KfpServer, demo: Submission) -> None:
    server.is_multi_user = True
    with pytest.raises(LensError, match="400 Bad Request: Invalid input error: Experiment namespace must not be empty"):
        client(server).submit(demo)
    asking = client(server, namespace="team-a")
    run = asking.submit(demo)
    assert server.experiments["e1"].namespace == "team-a"
    assert client(server).namespace_of(run.id) == "team-a"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("action", [answer(503), hang_up], ids=["503", "dropped"])
def test_run_is_started_once_whatever_becomes_of_the_answer(
    server: KfpServer, demo: Submission, action: Callable[..., None], after: bool
) -> None:
    server.put_run(display_name="another's")
    server.faults.append(Fault("POST", "/runs", action, after=after))
    assert client(server).submit(demo).id == "r2"
    assert list(server.runs) == ["r1", "r2"]


@pytest.mark.parametrize("pipeline", ["lens", "sweep", "evaluate"])
def test_every_pipeline_can_be_submitted_and_scheduled(
    server: KfpServer, lens: Callable[..., Any], pipeline: str
) -> None:
    """The server takes only parameters that the pipeline has."""
    chosen = ("--pipeline", pipeline, "--config", "ladder-sweep", "--json")
    assert lens("submit", *chosen)[0] == 0
    assert lens("schedule", "--every", "7d", *chosen)[0] == 0
    for made in (server.runs["r1"], server.schedules["s1"]):
        assert pipeline_in(made)["pipelineInfo"]["name"] == f"{pipeline}-pipeline"
    takes_the_name = {"componentInputParameter": "run"}
    for made, is_fixed in ((server.runs["r1"], True), (server.schedules["s1"], False)):
        inputs = [task["inputs"]["parameters"] for task in pipeline_in(made)["root"]["dag"]["tasks"].values()]
        assert any(takes_the_name in each.values() for each in inputs) is is_fixed


def test_cluster_settings_reach_the_run(server: KfpServer, lens: Callable[..., Any]) -> None:
    file = Path(__file__).parents[1] / "unit" / "pipelines" / "cluster.yaml"
    cluster = load_cluster(file)
    assert lens("submit", "--cluster", str(file), "--rayjobs", "-q")[0] == 0
    executors = pipeline_in(server.runs["r1"])["deploymentSpec"]["executors"]
    assert {each["container"]["image"] for each in executors.values()} == {cluster.image}
    assert "exec-train-as-rayjob" in executors


def test_pipeline_that_does_not_exist_is_named(server: KfpServer, lens: Callable[..., Any]) -> None:
    code, _, errors = lens("submit", "--pipeline", "nope")
    assert code == 2
    assert "there is no pipeline 'nope': choose from lens" in errors
    assert server.requests == []


def test_submit_prints_the_address_and_as_json_the_id(
    server: KfpServer, lens: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lens("submit", "-q") == (0, f"{server.address}/#/runs/details/r1\n", "")
    code, out, _ = lens("submit", "--json")
    assert code == 0
    assert json.loads(out)["run_id"] == "r2"
    assert list(tmp_path.iterdir()) == [], "nothing is left in the home folder"


# --- credentials ---


def test_cookie_is_sent(server: KfpServer) -> None:
    server.cookie = COOKIE
    run_id = server.put_run()
    assert client(server, cookie=COOKIE).run(run_id).state == "RUNNING"
    assert "authorization" not in server.headers


def test_pods_token_is_read_anew_for_each_call(
    server: KfpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    run_id = server.put_run()
    file.write_text("first\n")
    asking = client(server)
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        server.token = token
        assert asking.run(run_id).id == run_id
    server.token = "third"
    with pytest.raises(LensError, match=r"401 .*\(the service account's token \(.*\)\) is not accepted"):
        asking.run(run_id)
    server.token = SECRET
    assert client(server, token=SECRET).run(run_id).id == run_id, "a token that is given comes first"


def test_missing_credential_is_named(server: KfpServer) -> None:
    run_id = server.put_run()
    server.token = SECRET
    with pytest.raises(LensError, match=r"refused run r1: 401 Unauthorized; no credential was sent: set KFP_TOKEN"):
        client(server).run(run_id)
    server.token, server.cookie = None, COOKIE
    with pytest.raises(LensError, match=r"302 Found to https://login\.example/dex/auth; no credential was sent") as one:
        client(server).run(run_id)
    assert "state=" not in str(one.value)


def test_secrets_are_not_said(server: KfpServer, lens: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The server repeats the header that it was sent."""
    server.token = "another"
    server.faults.append(Fault("GET", "/runs/r1", error(400, 3, f"what is Bearer {SECRET}? or {COOKIE}?")))
    monkeypatch.setenv("KFP_TOKEN", SECRET)
    monkeypatch.setenv("KFP_COOKIE", COOKIE)
    for _ in range(2):
        code, out, errors = lens("status", "r1")
        assert code == 2
        assert len(errors.splitlines()) == 1
        assert SECRET not in out + errors
        assert COOKIE.partition("=")[2] not in out + errors
    assert "what was sent (the token and the cookie) is not accepted" in errors
    assert SECRET not in repr(Access("http://a", token=SECRET, cookie=COOKIE))


def test_missing_right_is_named(server: KfpServer) -> None:
    server.faults.append(Fault("GET", "/runs/r1", error(403, 7, "permission denied"), times=2))
    with pytest.raises(LensError, match=r"403 .*sent \(the token\) does not give .* wants --namespace"):
        client(server, token=SECRET).run("r1")
    with pytest.raises(LensError, match=r"403 Forbidden; no credential was sent"):
        client(server).run("r1")


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ({"token": "a\nb"}, "the token holds characters that cannot be sent"),
        ({"cookie": "MTc0"}, "the cookie must read NAME=VALUE"),
    ],
)
def test_credential_that_cannot_be_sent_is_refused(server: KfpServer, access: Any, message: str) -> None:
    with pytest.raises(LensError, match=message):
        client(server, **access)


# --- what passes, and what does not ---


@pytest.mark.parametrize(
    "action", [answer(503), answer(429), hang_up, silence(2)], ids=["503", "429", "dropped", "silent"]
)
def test_call_is_tried_again(server: KfpServer, action: Callable[..., None]) -> None:
    run_id = server.put_run()
    server.faults.append(Fault("GET", "/runs/r1", action))
    assert client(server, timeout_s=0.3).run(run_id).state == "RUNNING"
    assert server.requests == ["GET /apis/v2beta1/runs/r1"] * 2


def test_endpoint_that_stays_away_is_named(server: KfpServer) -> None:
    server.faults.append(Fault("GET", "/runs/r1", answer(503), times=99))
    asking = Client(Connection(Access(server.address), patience_s=0.5))
    with pytest.raises(LensError, match="refused run r1: 503 Service Unavailable"):
        asking.run("r1")
    assert len(server.requests) > 1


@pytest.mark.parametrize("path", ["/pipelines", "/apis/v1"], ids=["a page", "404"])
def test_server_that_is_no_kfp_is_named(server: KfpServer, lens: Callable[..., Any], path: str) -> None:
    if path == "/pipelines":
        server.faults.append(Fault("GET", "/runs/r1", answer(200, "<html>Welcome</html>")))
    code, _, errors = lens("status", "r1", "--endpoint", server.address + path)
    assert code == 2
    assert f"the KFP endpoint {server.address}{path} does not answer as one" in errors


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9 does not answer as one \(NewConnectionError"),
        ("localhost:8888", "localhost:8888 is no address such as"),
        ("https://me:pass@kubeflow.example", "the address of the KFP endpoint holds a name or password"),
    ],
)
def test_wrong_address_is_named_at_once(endpoint: str, message: str) -> None:
    with pytest.raises(LensError, match=message) as one:
        Client(Connection(Access(endpoint), patience_s=60)).run("r1")
    assert "pass@" not in str(one.value)


def test_https_where_http_is_spoken_is_named(server: KfpServer) -> None:
    address = server.address.replace("http", "https")
    with pytest.raises(LensError, match=r"does not answer as one \(OSError: SSLError \[SSL"):
        Client(Connection(Access(address))).run("r1")


@pytest.mark.parametrize(
    "command",
    [
        ["status", "r9"],
        ["cancel", "r9"],
        ["logs", "r9"],
        ["schedule", "pause", "r9"],
        ["schedule", "resume", "r9"],
        ["schedule", "delete", "r9"],
    ],
    ids=" ".join,
)
def test_unknown_id_is_named(server: KfpServer, lens: Callable[..., Any], command: list[str]) -> None:
    code, _, errors = lens(*command)
    assert code == 2
    assert "r9; an id is the last part of its page's address" in errors
    assert len(errors.splitlines()) == 1


def test_doctor_needs_the_credential_too(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cookie = COOKIE
    assert doctor._kfp(server.address).status == "broken", "a login page is no answer"
    monkeypatch.setenv("KFP_COOKIE", COOKIE)
    found = f"{server.address} answers, version 2.17.0"
    assert doctor._kfp(server.address) == doctor.Check("KFP endpoint", "ok", found)


@pytest.mark.parametrize(("version", "status"), [("2.15.2", "broken"), ("2.16.0", "ok"), ("master", "ok")])
def test_doctor_names_an_endpoint_that_is_too_old(version: str, status: str, server: KfpServer) -> None:
    server.version = version
    found = doctor._kfp(server.address)
    assert (found.status, version in found.found) == (status, True)
    assert status == "ok" or "2.16" in found.remedy


# --- following ---


def at(minutes: float) -> datetime:
    return BEGUN + timedelta(minutes=minutes)


def details(*nodes: Any) -> Any:
    """With what every KFP run has besides its tasks."""
    machinery = [
        task("lens-x7k2p", "RUNNING", at(0), children=("lens-x7k2p-1", "lens-x7k2p-2")),
        task("root-driver", "SUCCEEDED", at(0), 9, children=("lens-x7k2p-2",)),
        task("root", "RUNNING", at(0)),
        task("train-driver", "SUCCEEDED", at(2), 9),
        task("executor", "SKIPPED", at(2), 0),
        task("iteration-iterations(0:0)", "RUNNING", at(2)),
        task("iteration-item", "RUNNING", at(2)),
    ]
    return kfp.V2beta1RunDetails(task_details=[*nodes, *machinery])


def test_status_holds_the_tasks_with_states_and_times(server: KfpServer) -> None:
    """The server's list has no order, and the year 1970 where a time is not there yet."""
    train = task("train", "RUNNING", at(2), children=("lens-x7k2p-4",))
    data = task("prepare-data", "SUCCEEDED", at(1), 30)
    server.put_run(run_details=details(train, data))
    run = client(server).run("r1")
    assert [(each.name, each.state) for each in run.tasks] == [("prepare-data", "SUCCEEDED"), ("train", "RUNNING")]
    assert (run.tasks[0].started, run.tasks[0].ended) == (at(1), at(1.5))
    assert (run.tasks[1].ended, run.ended, run.error) == (None, None, None)


def test_reason_of_a_failure_is_what_the_server_knows(server: KfpServer) -> None:
    failed = task("train", "FAILED", at(2), 60)
    server.put_run("FAILED", run_details=details(failed))
    asking = client(server)
    assert asking.run("r1").error == "train failed; its log says why"
    history = [kfp.V2beta1RuntimeStatus(state="FAILED", error=kfp.GoogleRpcStatus(code=2, message="OOM\nkilled"))]
    failed.state_history = history
    assert asking.run("r1").error == "train: OOM killed"
    server.runs["r1"].error = kfp.GoogleRpcStatus(code=2, message="no such image")
    assert asking.run("r1").error == "no such image"
    server.runs["r1"].run_details = details(task("compare-driver", "FAILED", at(3), 1))
    assert [each.name for each in asking.run("r1").tasks] == ["compare-driver"]


def test_status_is_printed_for_an_id_or_an_address(server: KfpServer, lens: Callable[..., Any]) -> None:
    server.put_run("FAILED", finished_at=at(5), run_details=details(task("train", "FAILED", at(2), 150)))
    code, out, _ = lens("status", f"{server.address}/#/runs/details/r1")
    assert code == 0
    assert "demo-1234  FAILED" in out
    row = next(line for line in out.splitlines() if "│ train" in line)
    assert "FAILED" in row
    assert "0:02:30" in row  # 150 s
    assert "Failed: train failed; its log says why\nLogs:   lens pipeline logs r1" in out
    code, out, _ = lens("status", "r1", "--json")
    found = json.loads(out)
    assert (found["state"], found["tasks"][0]["name"]) == ("FAILED", "train")
    assert datetime.fromisoformat(found["ended"]) == datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("SKIPPED", 0), ("FAILED", 1), ("CANCELED", 1)], ids=str)
def test_waiting_ends_with_the_run_and_its_outcome(
    server: KfpServer, lens: Callable[..., Any], state: str, code: int
) -> None:
    server.next_states.append(end_as(state))
    left, out, _ = lens("submit", "--wait", "--json")
    assert left == code
    assert json.loads(out.splitlines()[-1])["state"] == state
    assert lens("status", "r1", "--wait", "-q")[0] == code


def test_waiting_tells_progress_and_outlives_a_restart(server: KfpServer) -> None:
    data, train = task("prepare-data", "RUNNING", at(1)), task("train", "RUNNING", at(2))
    server.put_run("PENDING", run_details=details(data))
    server.faults.append(Fault("GET", "/runs/r1", answer(503), times=2))

    def begin_training(run: Any) -> None:
        data.state, run.run_details = "SUCCEEDED", details(data, train)

    server.next_states += [lambda run: setattr(run, "state", "RUNNING"), begin_training, end_as("CANCELED")]
    told: list[Progress] = []
    assert client(server).wait("r1", told.append, poll_s=0.01).state == "CANCELED"
    assert [(each.done, each.total, each.text) for each in told] == [
        (0, 1, "running (prepare-data)"),
        (1, 2, "running (train)"),
        (1, 2, "canceled (train)"),
    ]


def test_credential_that_expires_ends_the_waiting_and_not_the_run(server: KfpServer) -> None:
    server.put_run()
    server.token = SECRET
    server.next_states.append(lambda _: setattr(server, "token", "new"))
    with pytest.raises(LensError, match="or not any longer; the run is not waited for any longer, and may go on"):
        client(server, token=SECRET).wait("r1", ignore, poll_s=0.01)
    assert server.runs["r1"].state == "RUNNING"


def test_interrupted_waiting_leaves_the_run(server: KfpServer, lens: Callable[..., Any]) -> None:
    server.next_states.append(lambda _: os.kill(os.getpid(), signal.SIGINT))
    code, _, errors = lens("submit", "--wait")
    assert code == 130
    assert errors.splitlines() == [
        "lens: run r1 goes on without being waited for: lens pipeline status r1 --wait waits again, "
        "lens pipeline cancel r1 ends it"
    ]
    assert server.runs["r1"].state == "PENDING"
    assert not any("terminate" in request for request in server.requests)


def test_cancel_asks_a_run_to_end(server: KfpServer, lens: Callable[..., Any]) -> None:
    server.put_run()
    server.faults.append(Fault("POST", ":terminate", hang_up, after=True))
    assert lens("cancel", "r1") == (0, "demo-1234 is CANCELING\n", "")
    assert server.requests.count("POST /apis/v2beta1/runs/r1:terminate") == 1


def test_cancel_leaves_a_run_that_has_ended(server: KfpServer, lens: Callable[..., Any]) -> None:
    server.put_run("SUCCEEDED")
    assert lens("cancel", "r1") == (0, "demo-1234 is SUCCEEDED\n", "")


# --- what an endpoint can do ---


@pytest.mark.parametrize(
    ("version", "rayjobs", "message"),
    [
        ("2.5.0", False, "is 2.5.0: steps that do not run as root (security contexts) need KFP 2.16 or newer"),
        ("2.15.2", False, "need KFP 2.16 or newer; upgrade Kubeflow Pipelines"),
        ("2.15.2", True, "need KFP 2.16 or newer"),
        ("2.16.0", True, None),
        ("2.17.0-rc.1", False, None),
        ("unknown", False, None),  # an image that was built by hand
        ("master", False, None),
    ],
)
def test_endpoint_that_is_too_old_is_told_on_one_line(
    server: KfpServer, version: str, rayjobs: bool, message: str | None
) -> None:
    server.version = version
    cluster = load_cluster(Path("tests/unit/pipelines/cluster.yaml"))
    wanted = submission(Launch(load_config("demo"), cluster=cluster, rayjobs=rayjobs))
    if message is None:
        client(server).submit(wanted)
    else:
        with pytest.raises(LensError, match=re.escape(message)) as caught:
            client(server).submit(wanted)
        assert "\n" not in str(caught.value)
    assert len(server.runs) == (message is None)


def test_what_a_version_lacks_is_read_from_the_pipeline() -> None:
    rayjob = {"pipeline_spec": {"components": {"comp-train": {"taskConfigPassthroughs": []}}}}
    plain = {"components": {"comp-train": {}}}
    assert missing("2.14.4", rayjob, False) == "trainings as RayJobs (TaskConfig) need KFP 2.15 or newer"
    assert missing("2.15.0", rayjob, True) is None
    assert missing("2.13.9", plain, True) == "schedules need KFP 2.14 or newer"
    assert missing("2.0.0", plain, False) is None


def test_schedule_asks_the_version_too(server: KfpServer, demo: Submission) -> None:
    server.version = "2.13.0"
    with pytest.raises(LensError, match=r"is 2\.13\.0: steps that do not run as root"):
        client(server).schedule(demo, trigger(None, "12h"))
    assert server.schedules == {}


@pytest.mark.parametrize("uri", ["sqlite:////data/mlflow.db", "file:///data/mlruns", "mlruns"])
@pytest.mark.parametrize("command", ["submit", "schedule", "compile"])
def test_store_on_a_disk_is_refused_for_steps_in_pods(
    server: KfpServer, lens: Callable[..., Any], command: str, uri: str, tmp_path: Path
) -> None:
    extra = {"submit": (), "schedule": ("--every", "7d"), "compile": ("-o", str(tmp_path / "compiled"))}[command]
    code, _, said = lens(command, *extra, "--tracking-uri", uri)
    assert code == 2
    assert said.startswith(f"lens: the tracking URI {uri} is a file, and each step on a cluster has a disk of its own")
    assert (server.runs, server.schedules, list(tmp_path.iterdir())) == ({}, {}, [])


def test_wait_has_a_deadline_and_leaves_the_run(server: KfpServer, lens: Callable[..., Any]) -> None:
    run = server.put_run()
    with pytest.raises(LensError, match=rf"run {run} is RUNNING after 0\.05 s of waiting, and goes on"):
        client(server).wait(run, ignore, poll_s=0.01, timeout_s=0.05)
    assert server.runs[run].state == "RUNNING"
    code, _, said = lens("status", run, "--wait", "--timeout", "soon")
    assert (code, said) == (2, "lens: --timeout 'soon' must be a number with s, m, h or d, such as 12h\n")


# --- schedules ---


def test_schedule_starts_each_run_anew_and_one_at_a_time(server: KfpServer, lens: Callable[..., Any]) -> None:
    server.faults.append(Fault("POST", "/recurringruns", hang_up, after=True))
    code, out, _ = lens("schedule", "--cron", "0 3 * * 1", "--json", "-s", "train.steps=20")
    assert code == 0
    assert json.loads(out)["when"] == "0 0 3 * * 1", "KFP's cron begins with seconds"
    (schedule,) = server.schedules.values()
    assert json.loads(schedule.runtime_config.parameters["config"])["train"]["steps"] == 20
    assert (schedule.max_concurrency, schedule.no_catchup, schedule.mode) == ("1", True, "ENABLE")
    reused = caching(submission(Launch(load_config("demo"))).spec["pipeline_spec"])
    assert {"enableCache": True} in reused
    assert caching(pipeline_in(schedule)) == [{}] * len(reused)
    tasks = pipeline_in(schedule)["root"]["dag"]["tasks"]
    takes_the_name = {name for name, task in tasks.items() if "pipeline_job_resource_name" in str(task)}
    assert takes_the_name == {"configure"}, "which hands it on to all others"
    name = {"runtimeValue": {"constant": "{{$.pipeline_job_resource_name}}"}}
    assert tasks["configure"]["inputs"]["parameters"]["run"] == name
    assert "'componentInputParameter': 'run'" not in str(tasks)


def caching(pipeline: Any) -> list[Any]:
    """Options of every task, those in loops and branches too; none is as good as empty ones."""
    dags = [each["dag"] for each in (pipeline["root"], *pipeline["components"].values()) if "dag" in each]
    return [task.get("cachingOptions", {}) for dag in dags for task in dag["tasks"].values()]


def test_schedule_lists_pauses_resumes_and_deletes(server: KfpServer, lens: Callable[..., Any]) -> None:
    assert lens("schedule", "list")[1] == "the experiment lens-grpo has no schedules\n"
    server.page_size = 2
    for _ in range(3):
        assert lens("schedule", "--every", "12h")[0] == 0
    assert server.schedules["s1"].trigger.periodic_schedule.interval_second == "43200"
    assert lens("schedule", "pause", "s2")[:2] == (0, "s2 is paused\n")
    assert lens("schedule", "delete", "s3")[:2] == (0, "s3 is deleted\n")
    rows = [line.split() for line in lens("schedule", "list")[1].splitlines()]
    assert [row[:5] for row in rows] == [["s1", "on", "every", "43200", "s"], ["s2", "paused", "every", "43200", "s"]]
    assert lens("schedule", "resume", "s2")[:2] == (0, "s2 is on\n")
    assert [each.is_enabled for each in client(server).schedules()] == [True, True]


def test_schedule_that_the_server_does_not_understand_is_refused(server: KfpServer, demo: Submission) -> None:
    starts = trigger("0 3 * * *", None)
    starts.cron_schedule.cron = "0 3"
    with pytest.raises(
        LensError, match="refused the schedule: 400 Bad Request: Schedule cron is not a supported format"
    ):
        client(server).schedule(demo, starts)


def test_schedule_without_a_time_is_refused(lens: Callable[..., Any]) -> None:
    code, _, errors = lens("schedule")
    assert code == 2
    assert "a schedule needs one of --cron '0 3 * * *' and --every 12h" in errors


# --- logs ---


@pytest.fixture
def kube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeServer]:
    with KubeServer().running() as running:
        monkeypatch.setenv("KUBECONFIG", str(running.write_kubeconfig(tmp_path)))
        yield running


def put_pod(kube: KubeServer, name: str, node: str, phase: str, **status: Any) -> None:
    """A pod as Argo makes it for a task, with its log."""
    kube.put(
        "pods",
        {
            "metadata": {
                "name": name,
                "labels": {"pipeline/runid": "r1"},
                "annotations": {"workflows.argoproj.io/node-name": f"lens-x7k2p.root.{node}"},
                "creationTimestamp": (BEGUN + timedelta(seconds=len(kube.objects))).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "spec": {"containers": [{"name": "wait"}, {"name": "main"}]},
            "status": {"phase": phase, **status},
        },
        namespace="kubeflow",
    )
    kube.write_log(name, f"I am {name}")


def test_logs_are_those_of_the_tasks_pods(
    server: KfpServer, demo: Submission, kube: KubeServer, lens: Callable[..., Any]
) -> None:
    client(server).submit(demo)
    put_pod(kube, "driver-1", "prepare-data-driver", "Succeeded")
    put_pod(kube, "impl-1", "prepare-data.executor", "Succeeded")
    loop = "for-loop-1.iteration-iterations(1:1).iteration-item"
    put_pod(kube, "impl-2", f"{loop}.train.executor(0)", "Running")
    put_pod(kube, "driver-2", "compare-driver", "Failed")
    kube.put("pods", {"metadata": {"name": "another"}, "status": {"phase": "Running"}}, namespace="kubeflow")
    code, out, _ = lens("logs", "r1")
    assert code == 0
    assert out == (
        "==> prepare-data (impl-1, Succeeded) <==\nI am impl-1\n\n"
        "==> for-loop-1/1/train (impl-2, Running) <==\nI am impl-2\n\n"
        "==> compare-driver (driver-2, Failed) <==\nI am driver-2\n"
    )
    assert json.loads(lens("logs", "r1", "--task", "train", "--json")[1])[0]["lines"] == ["I am impl-2"]
    code, _, errors = lens("logs", "r1", "--task", "nope")
    assert code == 2
    assert "no pod of a task nope; there are: prepare-data, for-loop-1/1/train, compare-driver" in errors


def test_logs_say_what_a_pod_waits_for(kube: KubeServer) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image lens-grpo-python"}
    put_pod(kube, "impl-1", "train.executor", "Pending")
    (pod,) = (each for each in kube.objects.values())
    state = {
        "name": "main",
        "ready": False,
        "restartCount": 0,
        "image": "a",
        "imageID": "",
        "state": {"waiting": waiting},
    }
    pod["status"]["containerStatuses"] = [state]
    (log,) = task_logs(Api(), "kubeflow", "r1")
    assert log.lines == ("not started: ImagePullBackOff: Back-off pulling image lens-grpo-python",)


def test_logs_of_pods_that_are_gone_are_missed(kube: KubeServer) -> None:
    with pytest.raises(LensError, match="run r1 has no pods in namespace kubeflow: they are removed some time after"):
        task_logs(Api(), "kubeflow", "r1")


@pytest.mark.parametrize(
    "command",
    [
        *("submit", "status r1", "logs r1", "cancel r1"),
        *("schedule --every 7d", "schedule list", "schedule pause s1", "schedule resume s1", "schedule delete s1"),
    ],
)
def test_command_without_an_endpoint_says_what_to_give_or_to_set(
    command: str, lens: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KFP_ENDPOINT")
    code, out, errors = lens(*command.split(), "--token", SECRET)
    assert (code, out) == (2, "")
    assert errors == "lens: there is no KFP endpoint: give --endpoint, or set KFP_ENDPOINT\n"
