"""KFP component: the policy that every method starts from."""

from kfp import dsl

from lens_components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def base_policy(config: str, run: str, policy: dsl.Output[dsl.Model]) -> None:
    """Put the base policy of `config` (a RunConfig as JSON) into `policy`, in Hugging Face format.

    `run` names the pipeline run and, with it, the code's fingerprint: a cached policy of another version is not reused.
    """
    from pathlib import Path

    from lens_core import stages
    from lens_core.config import RunConfig

    stages.base(RunConfig.model_validate_json(config), Path(policy.path))
