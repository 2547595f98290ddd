"""KFP component: train one method."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    config: str,
    method: str,
    run: str,
    tracking_uri: str,
    data: dsl.Input[dsl.Dataset],
    base: dsl.Input[dsl.Model],
    policy: dsl.Output[dsl.Model],
) -> None:
    """Train `method` of `config` (a RunConfig as JSON) from `base` on `data`."""
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig
    from lens_core.progress import print_marked
    from lens_core.tracking import tracking_for

    settings = RunConfig.model_validate_json(config)
    tracking = tracking_for(tracking_uri, run)
    stages.train(settings, method, Path(data.path), Path(base.path), Path(policy.path), tracking, print_marked)
    policy.metadata.update(method=method, config_sha256=settings.digest())
