"""Shared by all tests: determinism, isolation from the user's environment, real data where it is at hand."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("lens", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("lens")

# Tests send Ctrl-C, which what a shell starts in the background ignores, its children included.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Set before anything imports these libraries.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"
# Ray's workers give way to everything else, and a busy machine would starve them.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - it is Ray that spells it so
_KFP = ("KFP_ENDPOINT", "KFP_TOKEN", "KFP_COOKIE", "KFP_NAMESPACE", "KF_PIPELINES_SA_TOKEN_PATH")
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "LENS_HOME", "LENS_IMAGE", *_KFP):
    os.environ.pop(name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/unit/pipelines/golden anew")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that write to a cluster run when asked for, `-m kube`, and not because KUBECONFIG happens to be set."""
    if "kube" in config.option.markexpr:
        return
    for_a_cluster = [each for each in items if each.get_closest_marker("kube") is not None]
    config.hook.pytest_deselected(items=for_a_cluster)
    items[:] = [each for each in items if each not in for_a_cluster]


_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data sets: LENS_SHARED_DATA, or `shared/data` beside the checkout."""
    folder = Path(os.environ.get("LENS_SHARED_DATA", _SHARED / "data"))
    if not folder.is_dir():
        pytest.skip("needs real data: set LENS_SHARED_DATA to a folder with gsm8k/, olympiadbench/ and grading/")
    return folder


@pytest.fixture(scope="session")
def crds() -> Path:
    """Folder of KubeRay's CRDs: LENS_CRDS, or `shared/crds` beside the checkout."""
    folder = Path(os.environ.get("LENS_CRDS", _SHARED / "crds"))
    if not folder.is_dir():
        pytest.skip(
            "needs KubeRay's CRDs: set LENS_CRDS to a folder with ray.io_rayjobs.yaml and ray.io_rayclusters.yaml"
        )
    return folder
