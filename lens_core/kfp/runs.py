"""Runs and schedules as plain values, made of what KFP's API answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lens_core.errors import LensError

if TYPE_CHECKING:
    from kfp_server_api import V2beta1Trigger

ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MACHINERY = re.compile(r"root|executor(\(\d+\))?|iteration-item|iteration-iterations\(.*\)")
"""Nodes of the workflow that are no task of the pipeline; a driver is one only where it fails."""


@dataclass(frozen=True)
class Task:
    """A step of a run."""

    name: str
    state: str
    started: datetime | None
    ended: datetime | None
    error: str | None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Run:
    """A run as it was when it was asked for."""

    id: str
    name: str
    state: str
    """KFP's: PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELING, CANCELED, PAUSED."""
    created: datetime | None
    ended: datetime | None
    error: str | None
    """Why it failed; None unless it has."""
    address: str
    """Of its page."""
    tasks: tuple[Task, ...]
    """In the order in which they began; those that have not are not known yet."""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.state in ("SUCCEEDED", "SKIPPED")


@dataclass(frozen=True)
class Schedule:
    """A recurring run."""

    id: str
    name: str
    when: str
    """A cron expression with seconds, or `every N s`."""
    is_enabled: bool
    created: datetime | None
    address: str


def run_from(run: Any, endpoint: str) -> Run:
    """A `V2beta1Run` as a value."""
    details = [] if run.run_details is None else run.run_details.task_details or []
    tasks = tuple(sorted((_task(each) for each in details if _is_task(each)), key=_beginning))
    return Run(
        run.run_id,
        run.display_name,
        run.state or "PENDING",
        _time(run.created_at),
        _time(run.finished_at),
        _error(run) or next(_failures(tasks), None),
        f"{endpoint}/#/runs/details/{run.run_id}",
        tasks,
    )


def schedule_from(schedule: Any, endpoint: str) -> Schedule:
    """A `V2beta1RecurringRun` as a value."""
    trigger = schedule.trigger
    cron, periodic = trigger and trigger.cron_schedule, trigger and trigger.periodic_schedule
    when = cron.cron if cron else f"every {periodic.interval_second} s" if periodic else "never"
    identifier = schedule.recurring_run_id
    address = f"{endpoint}/#/recurringrun/details/{identifier}"
    is_enabled = schedule.status == "ENABLED"
    return Schedule(identifier, schedule.display_name, when, is_enabled, _time(schedule.created_at), address)


def trigger(cron: str | None, every: str | None) -> V2beta1Trigger:
    """What starts a recurring run: a crontab's five fields (KFP wants six, with seconds first), or an interval.

    Raises:
        LensError: unless there is one of the two, and it reads as one.
    """
    from kfp_server_api import V2beta1CronSchedule, V2beta1PeriodicSchedule, V2beta1Trigger

    if cron is not None and every is None:
        fields = cron.split()
        if len(fields) not in (5, 6) and not cron.startswith("@"):
            raise LensError(f"--cron '{cron}' must have five fields, minute to weekday, such as '0 3 * * *'")
        return V2beta1Trigger(cron_schedule=V2beta1CronSchedule(cron=" ".join(["0"] * (len(fields) == 5) + fields)))
    if every is not None and cron is None:
        seconds = duration_s("--every", every)
        return V2beta1Trigger(periodic_schedule=V2beta1PeriodicSchedule(interval_second=str(seconds)))
    raise LensError("a schedule needs one of --cron '0 3 * * *' and --every 12h")


def duration_s(option: str, text: str) -> int:
    """Seconds of an option's value such as 90m, 12h or 7d.

    Raises:
        LensError: naming the option, if it reads otherwise.
    """
    found = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if found is None:
        raise LensError(f"{option} '{text}' must be a number with s, m, h or d, such as 12h")
    return int(found[1]) * _SECONDS[found[2]]


def _is_task(node: Any) -> bool:
    name = node.display_name or ""
    is_workflow = any((child.pod_name or "").startswith(f"{name}-") for child in node.child_tasks or ())
    is_idle_driver = name.endswith("-driver") and node.state != "FAILED"
    return not (is_workflow or is_idle_driver or _MACHINERY.fullmatch(name))


def _task(node: Any) -> Task:
    started, ended = _time(node.start_time), _time(node.end_time)
    return Task(node.display_name, node.state or "PENDING", started, ended, _error(node))


def _beginning(task: Task) -> tuple[bool, float]:
    return (task.started is None, 0.0 if task.started is None else task.started.timestamp())


def _time(stamp: datetime | None) -> datetime | None:
    """The server says the year 1, or 1970, where there is no time yet."""
    return None if stamp is None or stamp.year <= 1970 else stamp


def _error(of: Any) -> str | None:
    """Of a run or a task: its error, else the newest one in its history."""
    errors = [of.error, *(each.error for each in reversed(of.state_history or ()))]
    return next((" ".join(each.message.split()) for each in errors if each is not None and each.message), None)


def _failures(tasks: tuple[Task, ...]) -> Iterator[str]:
    """What failed tasks say, innermost last; KFP 2 mostly leaves it to their logs."""
    failed = [task for task in tasks if task.state == "FAILED"]
    yield from (f"{task.name}: {task.error}" for task in failed if task.error is not None)
    if failed:
        yield f"{failed[-1].name} failed; its log says why"
