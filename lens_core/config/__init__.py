"""The typed configuration of a run, a file a subject; everything that others need is named here."""

from lens_core.config.complaints import describe
from lens_core.config.data import DataConfig, DecontaminationConfig, PassRateConfig, SourceConfig
from lens_core.config.evaluation import EvaluationConfig
from lens_core.config.experiments import DISTRIBUTIONS, StudyConfig, SweepConfig
from lens_core.config.imports import check_imports, import_paths, refuse_imports
from lens_core.config.load import RecipeRow, load_config, recipe_names, recipe_rows
from lens_core.config.method import Method
from lens_core.config.names import checked_address, checked_name
from lens_core.config.overrides import changed_by, overridden, values_by_hand
from lens_core.config.run import SHIPPED_BASE, About, ModelShape, RunConfig
from lens_core.config.sections import (
    Section,
    differing,
    flattened,
    json_parameter,
    key_of,
    override_value,
    parse,
    set_value,
)
from lens_core.config.text import read_text, read_yaml
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
    "RecipeRow",
    "RolloutConfig",
    "RunConfig",
    "Section",
    "SourceConfig",
    "StudyConfig",
    "SweepConfig",
    "TrainConfig",
    "VllmConfig",
    "changed_by",
    "check_imports",
    "checked_address",
    "checked_name",
    "describe",
    "differing",
    "flattened",
    "import_paths",
    "json_parameter",
    "key_of",
    "load_config",
    "overridden",
    "override_value",
    "parse",
    "read_text",
    "read_yaml",
    "recipe_names",
    "recipe_rows",
    "refuse_imports",
    "set_value",
    "values_by_hand",
]
