"""What `lens doctor` says of machines that lack something."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lens_core.cli import doctor
from lens_core.cli.doctor import Check, examine


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_doctor_finds_this_environment_in_order(tmp_path: Path) -> None:
    found = by_name(examine(tmp_path / "home", f"sqlite:///{tmp_path}/mlflow.db", None))
    assert {name: found[name].status for name in ("Python", "packages", "disk", "MLflow")} == {
        "Python": "ok",
        "packages": "ok",
        "disk": "ok",
        "MLflow": "ok",
    }
    assert "made on first use" in found["MLflow"].found
    assert not list(tmp_path.iterdir())  # looking changes nothing


def test_doctor_names_servers_that_do_not_answer_and_how_to_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    found = by_name(examine(tmp_path, "http://127.0.0.1:9", "http://127.0.0.1:9"))
    for name in ("MLflow", "KFP endpoint", "Ray cluster"):
        assert found[name].status == "broken"
        assert "127.0.0.1:9" in found[name].found
    assert "--tracking-uri" in found["MLflow"].remedy
    assert "port-forward" in found["KFP endpoint"].remedy
    assert "unset RAY_ADDRESS" in found["Ray cluster"].remedy


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_doctor_reaches_a_ray_cluster(listener: str, scheme: str) -> None:
    (found,) = doctor._ray_cluster(scheme + listener)
    assert found == Check("Ray cluster", "ok", f"{scheme}{listener} answers")


def test_doctor_compares_versions_with_our_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["numpy>=1", "pytest<2", "no-such-package", 'ray>=2; extra == "ray"']
    monkeypatch.setattr("importlib.metadata.requires", lambda _: declared)
    found = doctor._packages("packages", None)
    assert found.status == "broken"
    version = doctor.metadata.version("pytest")
    assert found.found == f"pytest {version} is not <2; no-such-package is not installed"
    assert found.remedy == "pip install 'lens-grpo'"


def test_doctor_calls_an_extra_missing_and_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ['no-such-package; extra == "kfp"'])
    assert doctor._packages("KFP", "kfp") == Check("KFP", "missing", "not installed", "pip install 'lens-grpo[kfp]'")


def test_doctor_names_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_DISK_GB", 10**9)
    found = doctor._disk(tmp_path / "not" / "there")
    assert found.status == "broken"
    assert found.remedy == "make room for 1000000000 GB, or choose another --home (LENS_HOME)"


def test_doctor_works_in_a_checkout_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_not_there(name: str) -> None:
        raise doctor.metadata.PackageNotFoundError(name)

    for name in ("metadata", "requires"):
        monkeypatch.setattr(f"importlib.metadata.{name}", is_not_there)
    monkeypatch.setattr(doctor, "describe_store", lambda _: __import__("no_such_mlflow"))
    found = by_name(examine(tmp_path, "http://127.0.0.1:9", None))
    for name in ("packages", "Ray", "KFP"):
        assert (found[name].status, found[name].found) == ("broken", "lens-grpo itself is not installed here")
    assert found["MLflow"].found == "mlflow cannot be imported (No module named 'no_such_mlflow')"
