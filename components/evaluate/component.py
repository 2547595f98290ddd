"""KFP component: Pass@k of one policy on the test problems."""

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def evaluate(
    config: str,
    label: str,
    run: str,
    tracking_uri: str,
    data: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    is_last: bool,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    samples: dsl.Output[dsl.HTML],
) -> None:
    """Write rollouts.jsonl and passk.json of `policy`, and its samples as a page; `label` is its name in tables.

    `is_last` says that the run in MLflow ends with this step.
    """
    import shutil
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig
    from lens_core.evaluation.records import read_report
    from lens_core.progress import print_marked
    from lens_core.tracking import end_parent, tracking_for

    settings = RunConfig.model_validate_json(config)
    tracking = tracking_for(tracking_uri, run)
    output = Path(evaluation.path)
    stages.evaluate(settings, label, Path(data.path), Path(policy.path), output, tracking, print_marked)
    shutil.copyfile(output / stages.VIEWER_FILE, samples.path)
    shutil.copyfile(output / stages.PASSK_FILE, metrics.path)  # kfp.local's cache wants a file behind each artifact
    for name, value in stages.evaluation_metrics(read_report(output)).items():
        metrics.log_metric(name, value)
    if is_last and tracking is not None:
        end_parent(tracking, "FINISHED")
