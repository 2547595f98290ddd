"""What stays in one process, and in which order."""

from pathlib import Path

from tests.helpers.scheduling import TOGETHER, group, turn

TESTS = Path(__file__).resolve().parents[1]


def test_groups_are_folders_of_unit_tests_modules_and_modules_of_one_cluster() -> None:
    assert group("tests/unit/kube/test_lease.py::test_a[x/y]") == group("tests/unit/kube/test_rules.py::test_b")
    assert group("tests/integration/test_run.py::test_a") != group("tests/integration/test_cli.py::test_a")
    micro_batches = "tests/integration/test_accumulation.py::test_a"
    assert group(f"{micro_batches}[x]") != group(f"{micro_batches}[y]")
    sweep, study = (group(f"tests/integration/test_{name}.py::test_a") for name in ("sweep", "study"))
    assert sweep == study == "side by side"


def test_order_is_unit_then_what_takes_minutes_then_other_modules_then_e2e() -> None:
    files = [
        "unit/test_x.py",
        "integration/test_kube_ray.py",
        "e2e/test_demo.py",
        "integration/test_run.py",
        "e2e/test_readme.py",
    ]
    places = [turn(f"tests/{each}::test_a") for each in files]
    assert places == sorted(places)
    assert len(set(places)) == len(files)


def test_modules_that_are_together_exist() -> None:
    modules = {path.stem for path in TESTS.glob("*/test_*.py")}
    assert {module for together in TOGETHER.values() for module in together} <= modules
