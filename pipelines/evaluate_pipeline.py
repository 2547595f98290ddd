"""The evaluation pipeline: prepare, base -> evaluate: Pass@k of one policy."""

from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl

from lens_components.base_policy.component import base_policy
from lens_components.prepare_data.component import prepare_data
from lens_pipelines.launch import Launch
from lens_pipelines.site import Needs, Site, with_needs


class Outputs(NamedTuple):
    evaluation: dsl.Artifact
    samples: dsl.HTML


def arguments(launch: Launch) -> dict[str, Any]:
    """Parameters that this pipeline has beyond those that all have."""
    return {"label": Path(launch.config.base).name}


def build(site: Site) -> Any:
    """The pipeline as kfp's GraphComponent."""

    @dsl.pipeline(name="evaluate-pipeline", description="Measure Pass@k of one policy on the test problems.")
    @with_needs
    def evaluate_pipeline(
        config: str,
        run: str,
        label: str,
        needs: Needs,
        tracking_uri: str = "",
    ) -> Outputs:
        """Evaluate the policy that `config` names as its base.

        Args:
            config: a RunConfig as JSON.
            run: name of the run in MLflow; steps of the same run are nested in one parent.
            label: the policy's name in tables.
            needs: of the steps that sample or train.
            tracking_uri: MLflow; empty: not tracked.
        """
        data = site.place(prepare_data(config=config, run=run, tracking_uri=tracking_uri)).outputs["data"]
        policy = site.place(base_policy(config=config, run=run)).outputs["policy"]
        evaluated = site.evaluate(
            needs,
            config=config,
            label=label,
            run=run,
            tracking_uri=tracking_uri,
            data=data,
            policy=policy,
            is_last=True,
        )
        return Outputs(evaluated.outputs["evaluation"], evaluated.outputs["samples"])

    return evaluate_pipeline
