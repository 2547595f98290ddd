"""KFP component: the configuration that a run was started with, with what was changed in Kubeflow's page."""

from typing import NamedTuple

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def configure(
    config: str,
    overrides: list[str],
    run: str,
    tracking_uri: str,
) -> NamedTuple("Configured", [("config", str), ("run", str)]):  # type: ignore[valid-type]  # as KFP reads outputs
    """Apply `overrides`, each `key.path=value`, to `config` (a RunConfig as JSON); what is refused fails the run here.

    Returns both for all other steps: a changed configuration makes another run.
    """
    from lens_core.config import RunConfig, json_parameter
    from lens_core.stages import configure as apply

    settled, name = apply(RunConfig.model_validate_json(config), overrides, run, tracking_uri)
    return json_parameter(settled), name
