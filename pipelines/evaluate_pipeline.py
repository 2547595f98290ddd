"""The evaluation pipeline: prepare, base -> evaluate: Pass@k of one policy."""

from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl

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
        overrides: list[str] = [],  # noqa: B006 - what KFP reads the default of
    ) -> Outputs:
        """Evaluate the policy that `config` names as its base.

        Args:
            config: a RunConfig as JSON.
            run: name of the run in MLflow; steps of the same run are nested in one parent.
            label: the policy's name in tables.
            needs: of the steps that sample or train.
            tracking_uri: MLflow; empty: not tracked.
            overrides: values to change, each `key.path=value`, such as evaluation.n=64; the run is then another one.
        """
        settings = site.configure(config, run, overrides, tracking_uri)
        data = site.place(prepare_data(tracking_uri=tracking_uri, **settings)).outputs["data"]
        policy = site.base_policy(needs, **settings).outputs["policy"]
        evaluated = site.evaluate(
            needs,
            label=label,
            tracking_uri=tracking_uri,
            **settings,
            data=data,
            policy=policy,
            is_last=True,
        )
        return Outputs(evaluated.outputs["evaluation"], evaluated.outputs["samples"])

    return evaluate_pipeline
