"""The LENS pipeline: prepare -> base -> (train -> evaluate) for each method -> compare."""

from typing import NamedTuple

from kfp import dsl

from components.base_policy.component import base_policy
from components.compare.component import compare
from components.evaluate.component import evaluate
from components.prepare_data.component import prepare_data
from components.train.component import train


class Outputs(NamedTuple):
    comparison: dsl.Artifact
    report: dsl.HTML


@dsl.pipeline(name="lens-pipeline", description="Train GRPO and LENS side by side, compare their Pass@k.")
def lens_pipeline(config: str, run: str, methods: list[str], tracking_uri: str = "") -> Outputs:
    """Compare `methods` of `config` from one base policy on the same data.

    Args:
        config: a RunConfig as JSON; the one parameter that all steps share.
        run: name of the run in MLflow; steps of the same run are nested in one parent.
        methods: names of the config's methods to train, each in its own branch.
        tracking_uri: MLflow; empty: not tracked.
    """
    data = prepare_data(config=config, run=run, tracking_uri=tracking_uri).outputs["data"]
    base = base_policy(config=config, run=run).outputs["policy"]
    base_evaluation = evaluate(
        config=config, label="base", run=run, tracking_uri=tracking_uri, data=data, policy=base
    ).set_display_name("evaluate base")
    with dsl.ParallelFor(methods, name="methods") as method:
        trained = train(config=config, method=method, run=run, tracking_uri=tracking_uri, data=data, base=base)
        evaluated = evaluate(
            config=config,
            label=method,
            run=run,
            tracking_uri=tracking_uri,
            data=data,
            policy=trained.outputs["policy"],
        )
    compared = compare(
        config=config,
        run=run,
        tracking_uri=tracking_uri,
        data=data,
        base_evaluation=base_evaluation.outputs["evaluation"],
        evaluations=dsl.Collected(evaluated.outputs["evaluation"]),
        policies=dsl.Collected(trained.outputs["policy"]),
    )
    return Outputs(comparison=compared.outputs["comparison"], report=compared.outputs["report"])
