"""KFP component: the best of several policies becomes the champion, if it beats the one there is."""

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(
    config: str,
    run: str,
    tracking_uri: str,
    registered_model: str,
    upload_weights: bool,
    base_evaluation: dsl.Input[dsl.Artifact],
    evaluations: dsl.Input[list[dsl.Artifact]],
    policies: dsl.Input[list[dsl.Model]],
    registration: dsl.Output[dsl.Artifact],
    card: dsl.Output[dsl.Markdown],
) -> None:
    """Write registration.json and the model card; where `registered_model` is empty, nothing is registered."""
    import shutil
    from pathlib import Path

    output = Path(registration.path)
    output.mkdir(parents=True, exist_ok=True)
    if not registered_model:
        Path(card.path).write_text("Not registered: the pipeline was given no name to register a policy under.\n")
        return

    from lens_core.config import RunConfig
    from lens_core.progress import print_marked
    from lens_core.stages.registration import register_best
    from lens_core.tracking import MODEL_CARD_FILE, Weights, tracking_for

    settings, tracking = RunConfig.model_validate_json(config), tracking_for(tracking_uri, run)
    trained = [Path(policy.path) for policy in policies]
    evaluated = [Path(evaluation.path) for evaluation in evaluations]
    weights: Weights = "upload" if upload_weights else "reference"
    base = Path(base_evaluation.path)
    register_best(settings, trained, evaluated, output, tracking, registered_model, weights, print_marked, base)
    shutil.copyfile(output / MODEL_CARD_FILE, card.path)
