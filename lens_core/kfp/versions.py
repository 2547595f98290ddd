"""What a pipeline asks of KFP's server, by the version that can do it first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Version = tuple[int, int]

OLDEST: Version = (2, 16)
"""Whatever is compiled for a cluster asks for it: its steps say as whom they run."""


def missing(version: str, spec: dict[str, Any], is_scheduled: bool) -> str | None:
    """What a server of `version` cannot do for a pipeline, with the version that can; None: nothing, or nobody knows.

    Args:
        version: as the server says it, `2.16.1`; `unknown` or `master`, of images that were built by hand, pass.
        spec: as it is submitted: `pipeline_spec` and `platform_spec`, or the former alone.
        is_scheduled: whether it starts again and again.
    """
    lacking = [need for need in _needs(spec, is_scheduled) if is_older(version, need[0])]
    if not lacking:
        return None
    (major, minor), what = max(lacking)
    return f"{what} need KFP {major}.{minor} or newer"


def is_older(version: str, wanted: Version) -> bool:
    """Whether a server that says `version` is older than `wanted`; one that says no numbers is not."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < wanted


def _needs(spec: dict[str, Any], is_scheduled: bool) -> Iterator[tuple[Version, str]]:
    if is_scheduled:
        yield (2, 14), "schedules"  # older ones do not fill in the name of a run
    components = spec.get("pipeline_spec", spec).get("components", {}).values()
    if any("taskConfigPassthroughs" in each for each in components):
        yield (2, 15), "trainings as RayJobs (TaskConfig)"
    platforms = spec.get("platform_spec", {}).get("platforms", {})
    executors = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {}).values()
    if any("securityContext" in each for each in executors):
        yield OLDEST, "steps that do not run as root (security contexts)"
