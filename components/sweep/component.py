"""KFP components: search the values with the best Pass@k on held-out problems, in the step itself or in a RayJob."""

from kfp import dsl

from lens_components.image import IMAGE
from lens_components.rayjob import PASSED_ON


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def sweep(
    config: str,
    seeds: list[int],
    run: str,
    tracking_uri: str,
    data: dsl.Input[dsl.Dataset],
    trials: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Run the sweep of `config` and return the best configuration, whose methods are the one swept with each seed."""
    import shutil
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig, json_parameter
    from lens_core.progress import print_marked
    from lens_core.stages.sweep import best_over_seeds
    from lens_core.stages.sweep import sweep as run_sweep
    from lens_core.tracking import tracking_for

    settings, output = RunConfig.model_validate_json(config), Path(trials.path)
    run_sweep(settings, output, tracking_for(tracking_uri, run), print_marked, Path(data.path))
    shutil.copyfile(output / stages.REPORT_FILE, report.path)
    return json_parameter(best_over_seeds(output, [int(seed) for seed in seeds]))  # KFP's numbers are floats


@dsl.component(base_image=IMAGE, install_kfp_package=False, task_config_passthroughs=PASSED_ON)
def sweep_as_rayjob(
    config: str,
    seeds: list[int],
    run: str,
    tracking_uri: str,
    shared: str,
    cluster: str,
    data: dsl.Input[dsl.Dataset],
    trials: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    task_config: dsl.TaskConfig,
) -> str:
    """`sweep` in a RayJob on `cluster` (a ClusterConfig as JSON), as this step's settings in Kubeflow change it.

    `shared` is a folder on a volume of the step's and of the job's.
    """
    import dataclasses
    import shutil
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig, json_parameter
    from lens_core.kube.settings import ClusterConfig
    from lens_core.stages import remote
    from lens_core.stages.sweep import best_over_seeds
    from lens_core.tracking import tracking_for

    settings, output, folder = RunConfig.model_validate_json(config), Path(trials.path), Path(shared) / run
    where, task = ClusterConfig.model_validate_json(cluster), dataclasses.asdict(task_config)
    tracking = tracking_for(tracking_uri, run)
    remote.sweep_as_rayjob(settings, Path(data.path), output, folder, run, where, task, tracking)
    shutil.copyfile(output / stages.REPORT_FILE, report.path)
    return json_parameter(best_over_seeds(output, [int(seed) for seed in seeds]))  # KFP's numbers are floats
