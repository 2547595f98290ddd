"""Logs of a run's tasks: those of their pods.

KFP 2 offers no better way: its API does not say the pods' names, its log address wants them, is not reached through
Kubeflow's gateway, and reads no archive unless the API server has been set up for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lens_core.errors import LensError

if TYPE_CHECKING:
    from lens_core.kube.api import Api

_RUN_LABEL = "pipeline/runid"
_NODE_ANNOTATION = "workflows.argoproj.io/node-name"
_CONTAINER = "main"
_QUIET_S = 60.0


@dataclass(frozen=True)
class TaskLog:
    """What a task has printed so far."""

    task: str
    """Its place in the pipeline: `prepare-data`, or `for-loop-1/0/train` for the first round of a loop."""
    pod: str
    phase: str
    """Kubernetes': Pending, Running, Succeeded, Failed."""
    lines: tuple[str, ...]
    """Of a pod that has not started, what it waits for."""


def task_logs(api: Api, namespace: str, run_id: str, task: str | None = None) -> list[TaskLog]:
    """Logs of all tasks of a run, or of those called `task`, in the order in which their pods were made.

    Drivers, which prepare a task, are left out unless they failed.

    Raises:
        LensError: if there is no such pod, or Kubernetes refuses.
    """
    pods = api.pods(namespace, f"{_RUN_LABEL}={run_id}")
    if not pods:
        raise LensError(
            f"run {run_id} has no pods in namespace {namespace}: they are removed some time after its end, "
            "and its page may still have the logs; or it runs in another --namespace"
        )
    pods.sort(key=lambda pod: pod.metadata.creation_timestamp)
    named = [(_place(pod), pod) for pod in pods]
    shown = [(name, pod) for name, pod in named if not name.endswith("-driver") or pod.status.phase == "Failed"]
    chosen = [(name, pod) for name, pod in shown if task in (None, name, name.split("/")[-1])]
    if task is not None and not chosen:
        there = ", ".join(dict.fromkeys(name for name, _ in shown)) or "none yet"
        raise LensError(f"run {run_id} has no pod of a task {task}; there are: {there}")
    return [TaskLog(name, pod.metadata.name, pod.status.phase, _lines(api, namespace, pod)) for name, pod in chosen]


def _place(pod: Any) -> str:
    """`workflow.root.for-loop-1.iteration-iterations(0:0).iteration-item.train.executor` -> `for-loop-1/0/train`."""
    annotations = pod.metadata.annotations or {}
    parts = annotations.get(_NODE_ANNOTATION, pod.metadata.name).split(".")
    parts = [re.sub(r"iteration-iterations\((\d+):.*\)", r"\1", part) for part in parts]
    tasks = [part for part in parts[1:] if not re.fullmatch(r"root|iteration-item|executor(\(\d+\))?", part)]
    return "/".join(tasks or parts)


def _lines(api: Api, namespace: str, pod: Any) -> tuple[str, ...]:
    if pod.status.phase == "Pending":
        return (f"not started: {_hindrance(pod)}",)
    response = api.log_stream(namespace, pod.metadata.name, None, _QUIET_S, container=_CONTAINER, follow=False)
    try:
        text = b"".join(response.stream(decode_content=False)).decode(errors="replace")
    finally:
        response.release_conn()
    return tuple(line.partition(" ")[2] for line in text.splitlines())


def _hindrance(pod: Any) -> str:
    """Why a pod waits: an image that cannot be had, no node with room."""
    waiting = [each.state.waiting for each in pod.status.container_statuses or () if each.state.waiting]
    conditions = [each for each in pod.status.conditions or () if each.status == "False"]
    found = next(iter((*waiting, *conditions)), None)
    if found is None:
        return "it is about to be"
    return f"{found.reason}: {found.message}" if found.message else str(found.reason)
