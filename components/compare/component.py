"""KFP component: compare evaluated policies and write the report."""

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def compare(
    config: str,
    run: str,
    tracking_uri: str,
    data: dsl.Input[dsl.Dataset],
    base_evaluation: dsl.Input[dsl.Artifact],
    evaluations: dsl.Input[list[dsl.Artifact]],
    policies: dsl.Input[list[dsl.Model]],
    comparison: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> None:
    """Write the comparison folder and, as an HTML artifact, its report."""
    import shutil
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig
    from lens_core.progress import print_marked
    from lens_core.tracking import tracking_for

    settings = RunConfig.model_validate_json(config)
    evaluated = [Path(artifact.path) for artifact in [base_evaluation, *evaluations]]
    trained = [Path(policy.path) for policy in policies]
    tracking = tracking_for(tracking_uri, run)
    output = Path(comparison.path)
    stages.compare(settings, Path(data.path), evaluated, trained, output, tracking, print_marked)
    shutil.copyfile(output / stages.REPORT_FILE, report.path)
