"""Which tests stay in one process of pytest-xdist, and which begin first.

xdist has groups of its own, by `--dist loadgroup`, which pytest 9.2 ignores: it no longer takes the names that they are
written into.
"""

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

KINDS = ("unit", "integration", "e2e", "kube", "gpu")
"""Folders in their order: what is fast, and fails in minutes, comes first."""
TOGETHER = {
    "ray": ("test_ray_rollouts", "test_ray_train", "test_stopping", "test_verify_ray"),
    "side by side": ("test_study", "test_sweep"),
    "head": ("test_kube_ray", "test_ray_cluster"),
    "demo": ("test_browser", "test_demo"),
    "interruption": ("test_interruption",),
    "sweep pipeline": ("test_sweep_pipeline",),
    "recipes": ("test_miniatures",),
    "pretrained": ("test_smollm2",),
    "accumulation": ("test_accumulation",),
    "wheel": ("test_wheel",),
}
"""Modules that share a cluster, or a finished demo, and others that take minutes: they begin after the unit tests, of
whatever kind they are, so that none of them is left for the end."""
APART = ("test_accumulation", "test_miniatures")
"""Modules whose tests share nothing and take minutes each."""
_GROUP_OF = {module: group for group, modules in TOGETHER.items() for module in modules}


def group(nodeid: str) -> str:
    """What a test shares its fixtures with: the folder of unit tests, or the module, or modules of one cluster."""
    path = PurePosixPath(nodeid.partition("::")[0])
    if path.stem in APART:
        return nodeid
    return path.parent.as_posix() if "unit" in path.parts else _GROUP_OF.get(path.stem, path.as_posix())


def turn(nodeid: str) -> tuple[int, int]:
    """The place of a test in the order of a run."""
    path = PurePosixPath(nodeid.partition("::")[0])
    kind, longest = KINDS.index(path.parts[1]), list(TOGETHER)
    if path.stem in _GROUP_OF:
        return 1, longest.index(_GROUP_OF[path.stem])
    return min(kind, 1), len(longest) + kind


class InGroups(LoadScopeScheduling):
    """Hands out groups whole, in the order of their first tests."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
