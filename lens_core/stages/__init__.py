"""The stages of a run as plain functions: configuration and paths in, paths out.

The CLI, a Kubeflow component, a Ray task and a test all call these. A stage writes a summary as its last file, so that
a folder without it is an interrupted stage. Everything that passes between stages is a file (docs/formats.md).
"""

from lens_core.evaluation.files import PASSK_FILE, ROLLOUTS_FILE, VIEWER_FILE
from lens_core.stages.comparison import compare, compare_evaluations
from lens_core.stages.configuration import configure
from lens_core.stages.evaluation import evaluate, evaluation_metrics, made_by, pass_rates, passk_metrics, view
from lens_core.stages.folder import (
    BASE,
    CHECKPOINTS_FILE,
    COMPARISON_FILE,
    DESIGN_FILE,
    PAIRED_FILE,
    REPORT_FILE,
    RUN_FILE,
    TRAINING_FILE,
    claim,
    read_training,
)
from lens_core.stages.preparation import base, base_name, prepare
from lens_core.stages.tracked import CONFIG_TAG, tracked
from lens_core.stages.training import cut_off_in_training, is_main_process, require_new, train

__all__ = [
    "BASE",
    "CHECKPOINTS_FILE",
    "COMPARISON_FILE",
    "CONFIG_TAG",
    "DESIGN_FILE",
    "PAIRED_FILE",
    "PASSK_FILE",
    "REPORT_FILE",
    "ROLLOUTS_FILE",
    "RUN_FILE",
    "TRAINING_FILE",
    "VIEWER_FILE",
    "base",
    "base_name",
    "claim",
    "compare",
    "compare_evaluations",
    "configure",
    "cut_off_in_training",
    "evaluate",
    "evaluation_metrics",
    "is_main_process",
    "made_by",
    "pass_rates",
    "passk_metrics",
    "prepare",
    "read_training",
    "require_new",
    "tracked",
    "train",
    "view",
]
