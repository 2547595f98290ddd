"""Shared by all tests: determinism, order, isolation from the user's environment, real data where it is at hand."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lens_core.signals import ENDING
from tests.helpers.prerequisites import missing
from tests.helpers.scheduling import InGroups, turn

settings.register_profile("lens", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lens")

# Tests send Ctrl-C and SIGHUP, which a shell's background and `nohup` ignore, their children included.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Set before anything imports these libraries. Policies of tests are too small for threads, which wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven processes a server
# Ray's workers give way to everything else, and a busy machine would starve them.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - it is Ray that spells it so
_KFP = ("KFP_ENDPOINT", "KFP_TOKEN", "KFP_COOKIE", "KFP_NAMESPACE", "KF_PIPELINES_SA_TOKEN_PATH")
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "LENS_HOME", "LENS_IMAGE", *_KFP):
    os.environ.pop(name, None)

_TESTS = Path(__file__).parent
_LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/unit/pipelines/golden anew")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LEFT_OUT] = Counter()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that write to a cluster, want a GPU, or kill for an hour run when asked for: `-m kube`."""
    for elsewhere in ("kube", "gpu", "chaos"):
        if elsewhere not in config.option.markexpr:
            left = [each for each in items if each.get_closest_marker(elsewhere) is not None]
            config.hook.pytest_deselected(items=left)
            items[:] = [each for each in items if each not in left]
    items.sort(key=lambda item: turn(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> InGroups:
    return InGroups(config, log)


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") is not None:
            item.config.stash[_LEFT_OUT]["long"] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of xdist's hands over what the one in front says in the end."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash[_LEFT_OUT])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Each process of xdist's has collected, and left out, the same."""
    node.config.stash[_LEFT_OUT] |= Counter(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What did not run, why, and what to do about it."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    for reason, number in skipped.most_common():
        terminalreporter.write_line(f"skipped {number}: {reason}", yellow=True)
    if number := config.stash[_LEFT_OUT]["long"]:
        takes = "takes" if number == 1 else "take"
        terminalreporter.write_line(f"left out {number} that {takes} long: make test-long", yellow=True)


def _reason(report: Any) -> str:
    """Of a skip, without the place that pytest puts beside it."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture(autouse=True)
def handlers_stay() -> Iterator[None]:
    """Whoever listens to signals for a while gives back the handlers of before: a Ctrl-C would else go to nobody."""
    before = _handlers()
    yield
    assert _handlers() == before


def _handlers() -> dict[str, Any]:
    return {each.name: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGUSR1, *ENDING)}


_SHARED = _TESTS.parents[1] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets: LENS_SHARED_DATA, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("LENS_SHARED_DATA", _SHARED / "data"))
    if not folder.is_dir():
        missing("real data", "set LENS_SHARED_DATA to a folder with gsm8k/, olympiadbench/ and grading/")
    return folder


@pytest.fixture(scope="session")
def crds() -> Path:
    """Folder of KubeRay's CRDs: LENS_CRDS, or `shared/crds` beside the checkout."""
    folder = Path(os.environ.get("LENS_CRDS", _SHARED / "crds"))
    if not folder.is_dir():
        missing("KubeRay's CRDs", "set LENS_CRDS to a folder with ray.io_rayjobs.yaml and ray.io_rayclusters.yaml")
    return folder
