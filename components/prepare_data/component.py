"""KFP component: read, clean and split the run's problems."""

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare_data(config: str, run: str, tracking_uri: str, data: dsl.Output[dsl.Dataset]) -> None:
    """Write problems, data.json and data card. `config` is a RunConfig as JSON, `run` the pipeline run's name."""
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig
    from lens_core.data.summary import read_summary
    from lens_core.progress import print_marked
    from lens_core.tracking import tracking_for

    settings = RunConfig.model_validate_json(config)
    stages.prepare(settings, Path(data.path), tracking_for(tracking_uri, run), print_marked)
    data.metadata.update(read_summary(Path(data.path)).model_dump(mode="json"))
