"""Text, addresses and values from outside, through the entry point: refused before any work, on one line."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from lens_core.cli import main, runs
from lens_core.errors import LensError
from lens_core.tracking import Tracking, find_run, list_runs, new_run, parent_run, tracking_for, unfinished_run
from lens_core.tracking.models import find_policy
from lens_core.tracking.store import equals, open_store

pytestmark = pytest.mark.integration

SECRET = "hunter2"
URI = f"http://me:{SECRET}@127.0.0.1:9"
Lens = Callable[..., tuple[object, str, str]]


@pytest.fixture
def lens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Lens:
    """Exit code, stdout and stderr of a command in an empty folder with a home of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["lens", *arguments])
        with pytest.raises(SystemExit) as left:
            main.main()
        return left.value.code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["train", "-o", "out"],
        ["evaluate", "policy", "-c", "demo", "--data", "data"],
        ["study"],
        ["sweep"],
        ["runs"],
        ["ui"],
        ["register", "policy", "-c", "demo", "--evaluation", "evaluation"],
        ["pipeline", "run"],
        ["pipeline", "compile"],
        ["pipeline", "submit", "--endpoint", "http://127.0.0.1:9"],
    ],
)
def test_tracking_uri_with_a_password_is_refused_unseen(lens: Lens, command: list[str], tmp_path: Path) -> None:
    code, out, err = lens(*command, "--tracking-uri", URI)
    assert (code, out) == (2, "")
    assert "the tracking URI holds a name or password: leave it out, and set MLFLOW_TRACKING_USERNAME" in err
    assert SECRET not in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", [f"postgresql://me:{SECRET}@db/mlflow", f"https://{SECRET}@host", f"me:{SECRET}@h:1"])
def test_tracking_uris_of_other_kinds_are_refused_unseen(lens: Lens, uri: str) -> None:
    code, out, err = lens("runs", "--tracking-uri", uri)
    assert (code, out) == (2, "")
    assert SECRET not in err


def test_tracking_uri_of_the_environment_is_refused_as_well(lens: Lens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    code, _, err = lens("runs")
    assert code == 2
    assert SECRET not in err
    monkeypatch.setenv("MLFLOW_RUN_ID", "0")
    with pytest.raises(LensError, match="holds a name or password"):
        tracking_for("", "run")


def test_doctor_shows_no_password_and_goes_on(lens: Lens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"me:{SECRET}@127.0.0.1:9")
    code, out, err = lens("doctor", "--tracking-uri", URI, "--kfp-endpoint", URI, "--json")
    found = {check["name"]: check for check in json.loads(out)}
    assert code == 1
    assert SECRET not in out + err
    assert [found[name]["status"] for name in ("MLflow", "KFP endpoint", "Ray cluster")] == ["broken"] * 3
    assert found["Python"]["status"] == "ok"


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:port", "[::1", "http://[", "\0"])
def test_doctor_survives_addresses_that_are_none(lens: Lens, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    if address != "\0":
        monkeypatch.setenv("RAY_ADDRESS", address)
    code, out, _ = lens("doctor", "--kfp-endpoint", address, "--json")
    found = {check["name"]: check for check in json.loads(out)}
    assert code == 1
    assert found["KFP endpoint"]["status"] == "broken"


@pytest.mark.parametrize("address", [URI, f"me:{SECRET}@host:8888", f"https://{SECRET}@host", "http://[::1"])
def test_kfp_endpoint_is_an_address_without_a_password(lens: Lens, address: str) -> None:
    code, _, err = lens("pipeline", "status", "run", "--endpoint", address)
    assert code == 2
    assert SECRET not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (f"env: {{HTTPS_PROXY: 'http://me:{SECRET}@proxy:3128'}}", ["true"]),
        (f"env: {{no_proxy: 'me:{SECRET}@proxy:3128'}}", ["true"]),
        (f"env: {{DATABASE_URL: '{SECRET}'}}", ["true"]),
        (f"env: {{PGPASS: '{SECRET}'}}", ["true"]),
        (f"env: {{LIBPQ: 'host=db password={SECRET}'}}", ["true"]),
        ("", ["lens", "train", "--tracking-uri", URI]),
        ("", ["lens", "train", f"--tracking-uri={URI}"]),
        ("", ["lens", "pipeline", "submit", "--token", SECRET]),
        ("", ["env", f"MLFLOW_TRACKING_PASSWORD={SECRET}", "lens", "demo"]),
    ],
)
def test_rayjobs_hold_no_credentials(lens: Lens, settings: str, command: list[str]) -> None:
    Path("cluster.yaml").write_text(f"image: lens:1\n{settings}\n")
    code, out, err = lens("k8s", "launch", "--cluster", "cluster.yaml", "--run", "r", "--dry-run", "--", *command)
    assert (code, out) == (2, "")
    assert SECRET not in err
    assert "Secret" in err


def test_rayjobs_take_what_only_looks_alike(lens: Lens) -> None:
    Path("cluster.yaml").write_text(
        "image: lens:1@sha256:0\nenv: {TOKENIZERS_PARALLELISM: 'false', A: 'x:1@sha256:0'}\n"
    )
    command = ["lens", "train", "-s", "evaluation.token_logprobs=false", "--data", "a:b", "-s", "train.max_tokens=5"]
    code, _, err = lens("k8s", "launch", "--cluster", "cluster.yaml", "--run", "r", "--dry-run", "--", *command)
    assert not code, err


def test_what_mlflow_is_told_holds_no_credentials(tmp_path: Path) -> None:
    run = parent_run(Tracking(f"sqlite:///{tmp_path}/mlflow.db", "r"))
    run.tags({"source": URI})
    run.params({"a": {"b": URI}})
    data = run.client.get_run(run.run_id).data
    assert data.tags["source"] == data.params["a.b"] == "http://***@127.0.0.1:9"


NAMES = ["it's", 'say "x"', "a' or tags.b != '", "%", "a`b", "[/x]", "ünïcode", "' '"]


def test_mlflow_finds_what_has_quotation_marks(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for name in NAMES:
        parent = parent_run(Tracking(uri, name))
        assert parent_run(Tracking(uri, name)).run_id == parent.run_id
        stage = new_run(Tracking(uri, name), "stage", name)
        stage.end("FAILED")
        assert unfinished_run(Tracking(uri, name), "stage", {}) == stage.run_id
        assert unfinished_run(Tracking(uri, name), "stage", {"lens.output": name}) is None
        assert find_run(uri, f"{name}/{name}").id == stage.run_id
        assert find_policy(parent, name) is None
    assert [row.run for row in list_runs(uri, 100) if row.depth == 0] == NAMES[::-1]


@pytest.mark.parametrize("name", ["'\"", "a\\"])
def test_what_mlflow_cannot_search_for_is_said(name: str, tmp_path: Path) -> None:
    with pytest.raises(LensError, match="MLflow cannot search for"):
        equals("tags.a", name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"this is no database, but long enough to look like one" * 100),
        lambda path: path.write_bytes(os.urandom(10_000)),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096)),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_damaged_database_is_named(lens: Lens, damage: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / ".lens").mkdir()
    path = tmp_path / ".lens" / "mlflow.db"
    open_store(f"sqlite:///{path}").search_experiments()
    damage(path)
    code, out, err = lens("runs")
    assert (code, out) == (2, "")
    assert "mlflow.db" in err
    assert len(err.splitlines()) == 1
    code, out, err = lens("doctor", "--json")
    found = {check["name"]: check for check in json.loads(out)}
    assert (code, err) == (1, "")
    assert found["MLflow"]["status"] == "broken"
    assert "mlflow.db" in found["MLflow"]["found"]


def test_empty_database_and_one_of_others_are_no_traceback(lens: Lens, tmp_path: Path) -> None:
    (tmp_path / ".lens").mkdir()
    path = tmp_path / ".lens" / "mlflow.db"
    path.write_bytes(b"")
    code, out, _ = lens("runs")
    assert not code
    assert "nothing is tracked" in out


@pytest.mark.parametrize("label", ["it's", "[/x]", "../x", "s[/b]", ":bomb:", "\x1b[31m", "a/b", ""])
def test_labels_are_names_before_any_work(lens: Lens, label: str, tmp_path: Path) -> None:
    code, _, err = lens("evaluate", "policy", "--data", "data", "--label", label)
    assert code == 2
    assert "is no name" in err
    assert "\x1b" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["../x", "nope", "[/b]"])
def test_method_is_known_before_a_folder_is_named_after_it(lens: Lens, method: str, tmp_path: Path) -> None:
    code, _, err = lens("train", "-m", method)
    assert code == 2
    assert "the configuration has no method" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "p", "-c", "demo", "--data", "d", "-n", "1000000000"], "evaluation.n"),
        (["train", "-s", "train.steps=10000000000000000000000"], "train.steps"),
        (["train", "-s", "train.steps=true"], "train.steps: True is no number"),
        (["train", "-s", "train.learning_rate=.inf"], "train.learning_rate"),
        (["train", "--workers", "99999999999"], "no cluster has that many"),
        (["runs", "-n", "1000000000000000000000000"], "-n"),
        (["data", "ladder", "-o", "x", "--per-level", "1000000000000000000000000"], "per-level"),
        (["data", "ladder", "-o", "x", "--level", "1000000000000000000000000"], "level"),
        (["data", "prepare", "-o", "x", "-s", "data.train={kind: gsm8k, path: /dev/zero}"], "/dev/zero is neither"),
        (["data", "prepare", "-o", "x", "-s", "data.train={kind: gsm8k, path: pipe}"], "pipe is neither a file"),
        (["train", "-c", "pipe"], "pipe is neither a file"),
    ],
)
def test_values_out_of_range_are_one_line(lens: Lens, arguments: list[str], message: str) -> None:
    os.mkfifo("pipe")
    code, _, err = lens(*arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_what_nobody_expected_is_one_line_and_a_file(
    lens: Lens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError(f"no such thing at {URI}\n\x1b[31mmore")

    monkeypatch.setattr(runs, "store_of", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = lens("runs", "--tracking-uri", URI)
    assert (code, out) == (70, "")
    assert len(err.splitlines()) == 1
    found = re.fullmatch(
        r"lens: unexpected RuntimeError: no such thing at http://\*\*\*@127\.0\.0\.1:9; .* in (\S+); .*\n", err
    )
    assert found is not None
    log = Path(found[1])
    assert 'raise RuntimeError(f"no such thing' in log.read_text()
    assert SECRET not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    code, _, err = lens("runs", "--debug")
    assert code == 70
    assert "Traceback" in err
    assert SECRET not in err
    assert "\x1b" not in err


def test_what_nobody_expected_is_said_in_a_checkout_that_is_not_installed(
    lens: Lens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def is_not_there(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(runs, "store_of", lambda *_: 1 // 0)
    monkeypatch.setattr("importlib.metadata.version", is_not_there)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, _, err = lens("runs")
    assert (code, err.count("\n")) == (70, 1)


def test_what_nobody_expected_is_said_without_a_disk(lens: Lens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "store_of", lambda *_: 1 // 0)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    code, _, err = lens("runs")
    assert code == 70
    assert (
        err == "lens: unexpected ZeroDivisionError: integer division or modulo by zero; --debug shows the traceback\n"
    )


def test_reader_who_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m lens_core.cli recipe explain | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
