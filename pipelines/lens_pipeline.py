"""The LENS pipeline: prepare -> base -> (train -> evaluate) for each method -> compare, register."""

from typing import Any, NamedTuple

from kfp import dsl

from lens_components.compare.component import compare
from lens_components.prepare_data.component import prepare_data
from lens_components.register.component import register
from lens_pipelines.launch import Launch
from lens_pipelines.site import Needs, Site, with_needs


class Outputs(NamedTuple):
    comparison: dsl.Artifact
    report: dsl.HTML
    registration: dsl.Artifact


def arguments(launch: Launch) -> dict[str, Any]:
    """Parameters that this pipeline has beyond those that all have."""
    can_register = launch.registers and launch.tracking_uri
    return {
        "methods": list(launch.config.methods),
        "registered_model": f"lens-{launch.config.name}" if can_register else "",
        "upload_weights": launch.upload_weights,
    }


def build(site: Site) -> Any:
    """The pipeline as kfp's GraphComponent."""

    @dsl.pipeline(
        name="lens-pipeline",
        description="Train GRPO and LENS, compare their Pass@k, register the best if it beats the champion.",
    )
    @with_needs
    def lens_pipeline(
        config: str,
        run: str,
        methods: list[str],
        needs: Needs,
        tracking_uri: str = "",
        registered_model: str = "",
        upload_weights: bool = True,
        overrides: list[str] = [],  # noqa: B006 - what KFP reads the default of
    ) -> Outputs:
        """Compare `methods` of `config` from one base policy on the same data.

        Args:
            config: a RunConfig as JSON; the one parameter that all steps share.
            run: name of the run in MLflow; steps of the same run are nested in one parent.
            methods: names of the config's methods to train, each in its own branch.
            needs: of the steps that sample or train.
            tracking_uri: MLflow; empty: not tracked.
            registered_model: whose champion the best policy becomes, if it beats it, or the base; empty: none.
            upload_weights: whether the policy's files go into MLflow, or only a note of where they lie.
            overrides: values to change, each `key.path=value`, such as train.steps=200; the run is then another one.
        """
        settings = site.configure(config, run, overrides, tracking_uri)
        shared = {**settings, "tracking_uri": tracking_uri}
        evaluation = {**shared, "is_last": False}
        data = site.place(prepare_data(**shared)).outputs["data"]
        base = site.base_policy(needs, **settings).outputs["policy"]
        base_evaluation = site.evaluate(needs, label="base", data=data, policy=base, **evaluation)
        base_evaluation.set_display_name("evaluate base")
        with dsl.ParallelFor(methods, name="methods", parallelism=site.parallel) as method:
            trained = site.train(needs, method=method, data=data, base=base, **shared)
            evaluated = site.evaluate(needs, label=method, data=data, policy=trained.outputs["policy"], **evaluation)
        compared = compare(
            data=data,
            base_evaluation=base_evaluation.outputs["evaluation"],
            evaluations=dsl.Collected(evaluated.outputs["evaluation"]),
            policies=dsl.Collected(trained.outputs["policy"]),
            **shared,
        )
        registered = register(
            registered_model=registered_model,
            upload_weights=upload_weights,
            base_evaluation=base_evaluation.outputs["evaluation"],
            evaluations=dsl.Collected(evaluated.outputs["evaluation"]),
            policies=dsl.Collected(trained.outputs["policy"]),
            **shared,
        )
        site.place(compared)
        site.place(registered.after(compared), is_cached=False)
        return Outputs(compared.outputs["comparison"], compared.outputs["report"], registered.outputs["registration"])

    return lens_pipeline
