"""The typed configuration of a run, a file a subject; everything that others need is named here."""

from lens_core.config.data import DataConfig, DecontaminationConfig, PassRateConfig, SourceConfig
from lens_core.config.evaluation import EvaluationConfig
from lens_core.config.experiments import DISTRIBUTIONS, StudyConfig, SweepConfig
from lens_core.config.imports import check_imports, import_paths, refuse_imports
from lens_core.config.load import load_config, recipe_abouts, recipe_names
from lens_core.config.method import Method
from lens_core.config.names import checked_name
from lens_core.config.run import SHIPPED_BASE, About, ModelShape, RunConfig
from lens_core.config.sections import Section, describe, differing, flattened, override_value, parse, set_value
from lens_core.config.train import (
    CHANGEABLE,
    EconomyConfig,
    LoraConfig,
    PromptConfig,
    RolloutConfig,
    TrainConfig,
    VllmConfig,
)

__all__ = [
    "CHANGEABLE",
    "DISTRIBUTIONS",
    "SHIPPED_BASE",
    "About",
    "DataConfig",
    "DecontaminationConfig",
    "EconomyConfig",
    "EvaluationConfig",
    "LoraConfig",
    "Method",
    "ModelShape",
    "PassRateConfig",
    "PromptConfig",
    "RolloutConfig",
    "RunConfig",
    "Section",
    "SourceConfig",
    "StudyConfig",
    "SweepConfig",
    "TrainConfig",
    "VllmConfig",
    "check_imports",
    "checked_name",
    "describe",
    "differing",
    "flattened",
    "import_paths",
    "load_config",
    "override_value",
    "parse",
    "recipe_abouts",
    "recipe_names",
    "refuse_imports",
    "set_value",
]
