"""What a pipeline asks of KFP's server, by the version that can do it first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Version = tuple[int, int]


def missing(version: str, spec: dict[str, Any], is_scheduled: bool) -> str | None:
    """What a server of `version` cannot do for a pipeline, with the version that can; None: nothing, or nobody knows.

    Args:
        version: as the server says it, `2.16.1`; `unknown` or `master`, of images that were built by hand, pass.
        spec: as it is submitted: `pipeline_spec` and `platform_spec`, or the former alone.
        is_scheduled: whether it starts again and again.
    """
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found is None:
        return None
    lacking = [need for need in _needs(spec, is_scheduled) if need[0] > (int(found[1]), int(found[2]))]
    if not lacking:
        return None
    (major, minor), what = max(lacking)
    return f"{what} need KFP {major}.{minor} or newer"


def _needs(spec: dict[str, Any], is_scheduled: bool) -> Iterator[tuple[Version, str]]:
    if is_scheduled:
        yield (2, 14), "schedules"  # older ones do not fill in the name of a run
    components = spec.get("pipeline_spec", spec).get("components", {}).values()
    if any("taskConfigPassthroughs" in each for each in components):
        yield (2, 15), "trainings as RayJobs (TaskConfig)"
    platforms = spec.get("platform_spec", {}).get("platforms", {})
    executors = platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {}).values()
    if any("securityContext" in each for each in executors):
        yield (2, 16), "steps that do not run as root (security contexts)"
