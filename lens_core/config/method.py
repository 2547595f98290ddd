"""A treatment of a group's rewards, by the name of its objective."""

from __future__ import annotations

from inspect import Parameter
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from lens_core.lookup import is_path


class Method(BaseModel):
    """One treatment of a group's rewards: an objective, its parameters, and what it changes in the training.

    In YAML the parameters stand beside `objective`: `{objective: nsr, positive_weight: 0.1}`.
    """

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    objective: str = "lens"
    """`lens`, `grpo`, `dr_grpo`, `dapo`, `nsr`, `ngrpo`, `rl_zvp`, `pass_at_k`, `max_rl` (lens_core/baselines.py), or
    `package.module:function` for a function of your own. Its parameters stand beside it: `alpha: 0.5`."""
    train: dict[str, Any] = {}
    """Values of the `train` section that this method overrides, for example DAPO's `clip_high`."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that the configuration gives; the others have the objective's defaults."""
        return {} if self.model_extra is None else dict(self.model_extra)

    @property
    def resolved(self) -> dict[str, Any]:
        """All parameters of the objective that have a value, defaults included."""
        from lens_core.baselines import find_estimator, parameters_of

        defaults = parameters_of(find_estimator(self.objective))
        return {name: value for name, value in defaults.items() if value is not Parameter.empty} | self.parameters

    @model_validator(mode="after")
    def _objective_takes_parameters(self) -> Self:
        if not is_path(self.objective):  # code of somebody's, which reading a configuration does not run
            self.check()
        return self

    def check(self) -> None:
        """Try the objective with its parameters on two small groups; a function that is named by its path is imported.

        Raises:
            ValueError: on one line, if there is none, or it does not take or give what it has to.
        """
        from lens_core.baselines import check_parameters, find_estimator  # torch: a cluster's settings do without

        check_parameters(find_estimator(self.objective), self.parameters)
