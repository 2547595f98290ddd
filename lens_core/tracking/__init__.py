"""MLflow, and nothing outside this room talks to it."""

from lens_core.tracking.listing import RunRow, differing, find_run, list_runs
from lens_core.tracking.models import (
    CHAMPION,
    MODEL_CARD_FILE,
    Champion,
    Weights,
    champion_of,
    log_counts,
    log_policy,
    origin_of,
    policy_files,
    register_champion,
    use_policy,
)
from lens_core.tracking.run import StageRun
from lens_core.tracking.runs import (
    end_parent,
    last_step,
    new_run,
    old_run,
    parent_run,
    stage_run,
    unfinished_run,
    whole_run,
)
from lens_core.tracking.sender import MetricsSender
from lens_core.tracking.store import (
    EXPERIMENT,
    RUN_TAG,
    Tracking,
    check_reachable,
    check_shared,
    checked_uri,
    describe_store,
    tracking_for,
)
from lens_core.tracking.traces import AnswerTrace, log_traces

__all__ = [
    "CHAMPION",
    "EXPERIMENT",
    "MODEL_CARD_FILE",
    "RUN_TAG",
    "AnswerTrace",
    "Champion",
    "MetricsSender",
    "RunRow",
    "StageRun",
    "Tracking",
    "Weights",
    "champion_of",
    "check_reachable",
    "check_shared",
    "checked_uri",
    "describe_store",
    "differing",
    "end_parent",
    "find_run",
    "last_step",
    "list_runs",
    "log_counts",
    "log_policy",
    "log_traces",
    "new_run",
    "old_run",
    "origin_of",
    "parent_run",
    "policy_files",
    "register_champion",
    "stage_run",
    "tracking_for",
    "unfinished_run",
    "use_policy",
    "whole_run",
]
