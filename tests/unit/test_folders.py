"""A folder is claimed before anything is written into it, by one command at a time."""

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lens_core import folders
from lens_core.errors import LensError
from lens_core.files import write_json
from lens_core.folders import BASE_POLICY, EVALUATION, KINDS, TRAINING, Kind, claimed

HOLDER = """
import sys
from pathlib import Path
from lens_core.folders import TRAINING, claimed
with claimed(Path(sys.argv[1]), TRAINING):
    print("in", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Inside the block another process trains in `folder`."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield process
        process.kill()


def content(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def interrupt(folder: Path, kind: Kind) -> None:
    """As a stage that fails half-way leaves `folder`."""
    with suppress(ZeroDivisionError), claimed(folder, kind):
        (folder / "half").write_text("of it")
        raise ZeroDivisionError


def test_missing_folder_is_made(tmp_path: Path) -> None:
    with claimed(tmp_path / "a/b", TRAINING):
        assert (tmp_path / "a/b").is_dir()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_folder_of_somebody_else_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "config.json").write_text('{"model_type": "mine"}')
    (tmp_path / "run.json").write_text('{"made": "by another program"}')
    before = content(tmp_path)
    with pytest.raises(LensError, match=r"is not empty, and does not hold .*: choose another folder, or empty"):
        claimed(tmp_path, kind).__enter__()
    assert content(tmp_path) == before


def test_folder_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"design": {}, "mlflow_run": ""})
    with pytest.raises(LensError, match=r"holds a training: choose another folder for an evaluation"):
        claimed(tmp_path, EVALUATION).__enter__()
    assert list(content(tmp_path)) == ["run.json"]


def test_second_command_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with held(tmp_path):
        for kind in (TRAINING, EVALUATION):
            with pytest.raises(LensError, match=r"is being written by another command: wait|holds a training"):
                claimed(tmp_path, kind).__enter__()
    with claimed(tmp_path, TRAINING):
        pass


def test_command_that_was_killed_leaves_its_folder_to_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with held(folder) as process:
        (folder / "half").write_text("of it")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(LensError, match="holds a training"):
        claimed(folder, EVALUATION).__enter__()
    with claimed(folder, TRAINING):
        assert (folder / "half").exists()


def test_another_thread_is_another_command(tmp_path: Path) -> None:
    with (
        claimed(tmp_path, TRAINING),
        ThreadPoolExecutor(1) as other,
        pytest.raises(LensError, match="is being written by another command"),
    ):
        other.submit(claimed(tmp_path, TRAINING).__enter__).result()


def test_stage_may_claim_what_its_command_has_claimed(tmp_path: Path) -> None:
    with claimed(tmp_path, TRAINING):
        with claimed(tmp_path, TRAINING):
            (tmp_path / "file").touch()
        with ThreadPoolExecutor(1) as other, pytest.raises(LensError, match="another command"):
            other.submit(claimed(tmp_path, TRAINING).__enter__).result()


def test_interrupted_folder_stays_ours(tmp_path: Path) -> None:
    interrupt(tmp_path / "a", BASE_POLICY)
    with claimed(tmp_path / "a", BASE_POLICY):
        assert (tmp_path / "a/half").exists()
    with pytest.raises(LensError, match="holds a base policy"):
        claimed(tmp_path / "a", TRAINING).__enter__()


def test_folder_is_as_it_was_where_nothing_was_written(tmp_path: Path) -> None:
    for folder in (tmp_path / "there", tmp_path / "missing", tmp_path / "missing/below"):
        (tmp_path / "there").mkdir(exist_ok=True)
        with pytest.raises(ZeroDivisionError), claimed(folder, TRAINING):
            raise ZeroDivisionError
    assert [each.name for each in tmp_path.iterdir()] == ["there"]
    assert not any((tmp_path / "there").iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [(kind, *known) for kind in KINDS for known in kind.known_by],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_finished_folder_is_known_by_its_files_alone(kind: Kind, name: str, key: str | None, tmp_path: Path) -> None:
    """Of an earlier release, or copied."""
    write_json(tmp_path / name, {} if key is None else {key: 1})
    with claimed(tmp_path, kind):
        assert (tmp_path / kind.lock_file).exists()
    assert list(content(tmp_path)) == [name]


@pytest.mark.parametrize("text", ["", '{"design"', "[]"])
def test_damage_to_what_it_is_known_by_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(LensError, match=r"run\.json is damaged"):
        claimed(tmp_path, TRAINING).__enter__()


def test_folder_inside_one_of_ours_is_ours(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"mlflow_run": ""})
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").touch()  # an earlier release left no more
    with claimed(tmp_path / "base", BASE_POLICY):
        pass


@pytest.mark.parametrize("below", ["", "below"])
def test_file_is_no_folder(below: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(LensError, match=r"is a file: choose another name|cannot be written \(Not a directory\)"):
        claimed(tmp_path / "a" / below, TRAINING).__enter__()
    assert (tmp_path / "a").read_text() == "mine"


def test_folder_that_cannot_be_looked_into_or_named_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LensError, match=r"cannot be written \(File name too long\)"):
        claimed(tmp_path / ("a" * 300), TRAINING).__enter__()

    def denied(self: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)  # a superuser may look into every folder
    with pytest.raises(LensError, match=r"cannot be written \(Permission denied\)"):
        claimed(tmp_path, TRAINING).__enter__()


def test_of_two_kinds_that_find_a_folder_empty_at_once_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = folders._refuse_other_content

    def look_before_the_other(folder: Path, kind: Kind) -> bool:
        was_empty = find(folder, kind)
        if kind is TRAINING:
            (folder / EVALUATION.lock_file).touch()
        return was_empty

    monkeypatch.setattr(folders, "_refuse_other_content", look_before_the_other)
    with pytest.raises(LensError, match="holds an evaluation: choose another folder for a training"):
        claimed(tmp_path, TRAINING).__enter__()
    assert list(content(tmp_path)) == [EVALUATION.lock_file]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_file_system_without_locks_is_used_without(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, "none here")

    monkeypatch.setattr("fcntl.flock", flock)
    with claimed(tmp_path, TRAINING), claimed(tmp_path, TRAINING):
        (tmp_path / "half").touch()
    assert caplog.text.count("cannot be locked (none here)") == 1
    with claimed(tmp_path, TRAINING):  # goes on, as after a kill
        write_json(tmp_path / "run.json", {"mlflow_run": ""})
    assert sorted(content(tmp_path)) == ["half", "run.json"]
