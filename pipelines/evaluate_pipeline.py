"""The evaluation pipeline: prepare, base -> evaluate: Pass@k of one policy."""

from typing import Any, NamedTuple

from kfp import dsl

from lens_components.base_policy.component import base_policy
from lens_components.prepare_data.component import prepare_data
from lens_pipelines.site import Needs, Site


class Outputs(NamedTuple):
    evaluation: dsl.Artifact
    samples: dsl.HTML


def build(site: Site) -> Any:
    """The pipeline as kfp's GraphComponent."""

    @dsl.pipeline(name="evaluate-pipeline", description="Measure Pass@k of one policy on the test problems.")
    def evaluate_pipeline(
        config: str,
        run: str,
        label: str,
        cpus: str,
        memory: str,
        gpus: str,
        gpu_type: str,
        node_selector: dict[str, str],
        tolerations: list[dict[str, str]],
        tracking_uri: str = "",
    ) -> Outputs:
        """Evaluate the policy that `config` names as its base.

        Args:
            config: a RunConfig as JSON.
            run: name of the run in MLflow; steps of the same run are nested in one parent.
            label: the policy's name in tables.
            cpus: of the evaluation.
            memory: of the evaluation, such as 16Gi.
            gpus: of the evaluation, as a string; "0": none.
            gpu_type: resource that Kubernetes counts them as.
            node_selector: labels of the nodes that it may run on.
            tolerations: of its pod, as in Kubernetes.
            tracking_uri: MLflow; empty: not tracked.
        """
        needs = Needs(cpus, memory, gpus, gpu_type, node_selector, tolerations)
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
