"""KFP components: train one method, in the step itself or in a RayJob."""

from kfp import dsl

from lens_components.image import IMAGE
from lens_components.rayjob import PASSED_ON


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    config: str,
    method: str,
    run: str,
    tracking_uri: str,
    shared: str,
    data: dsl.Input[dsl.Dataset],
    base: dsl.Input[dsl.Model],
    policy: dsl.Output[dsl.Model],
) -> None:
    """Train `method` of `config` (a RunConfig as JSON) from `base` on `data`.

    `shared` is a folder on a volume, where a step that is tried again finds the checkpoints; empty: there is none.
    """
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig
    from lens_core.progress import print_marked
    from lens_core.stages import remote
    from lens_core.tracking import tracking_for

    settings = RunConfig.model_validate_json(config)
    paths, tracking = (Path(data.path), Path(base.path), Path(policy.path)), tracking_for(tracking_uri, run)
    if shared:
        remote.train_on_volume(settings, method, *paths, Path(shared) / run, tracking, print_marked)
    else:
        stages.train(settings, method, *paths, tracking, print_marked)
    policy.metadata.update(method=method, config_sha256=settings.digest())


@dsl.component(base_image=IMAGE, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def train_as_rayjob(
    config: str,
    method: str,
    run: str,
    tracking_uri: str,
    shared: str,
    cluster: str,
    data: dsl.Input[dsl.Dataset],
    base: dsl.Input[dsl.Model],
    policy: dsl.Output[dsl.Model],
    task_config: dsl.TaskConfig,
) -> None:
    """Train `method` in a RayJob on `cluster` (a ClusterConfig as JSON), as this step's settings in Kubeflow change it.

    `shared` is a folder on a volume of the step's and of the job's.
    """
    import dataclasses
    from pathlib import Path

    from lens_core.config import RunConfig
    from lens_core.kube.settings import ClusterConfig
    from lens_core.stages import remote
    from lens_core.tracking import tracking_for

    settings = RunConfig.model_validate_json(config)
    paths, tracking = (Path(data.path), Path(base.path), Path(policy.path)), tracking_for(tracking_uri, run)
    where, task = ClusterConfig.model_validate_json(cluster), dataclasses.asdict(task_config)
    remote.train_as_rayjob(settings, method, *paths, Path(shared) / run, run, where, task, tracking)
    policy.metadata.update(method=method, config_sha256=settings.digest())
