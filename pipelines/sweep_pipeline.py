"""The sweep pipeline: prepare -> sweep -> (train -> evaluate) of the best for each seed -> compare."""

from typing import Any, NamedTuple

from kfp import dsl

from lens_components.compare.component import compare
from lens_components.prepare_data.component import prepare_data
from lens_pipelines.launch import Launch
from lens_pipelines.site import Needs, Site, with_needs

_SEEDS = (0, 1, 2)
"""Of the trainings after a sweep, where the configuration has no `study.seeds`."""


class Compared(NamedTuple):
    comparison: dsl.Artifact
    report: dsl.HTML


class Outputs(NamedTuple):
    comparison: dsl.Artifact
    report: dsl.HTML
    trials: dsl.Artifact


def arguments(launch: Launch) -> dict[str, Any]:
    """Parameters that this pipeline has beyond those that all have.

    Raises:
        LensError: if the configuration has no `sweep` section.
    """
    config = launch.config
    method = config.required_sweep().method
    seeds = list(_SEEDS if config.study is None else config.study.seeds)
    return {"seeds": seeds, "methods": [f"{method}-s{seed}" for seed in seeds]}


def build(site: Site) -> Any:
    """The pipeline as kfp's GraphComponent."""
    repeat = _build_repetition(site)

    @dsl.pipeline(
        name="sweep-pipeline",
        description="Search the best values, train with them over several seeds, compare their Pass@k with the base's.",
    )
    @with_needs
    def sweep_pipeline(
        config: str,
        run: str,
        seeds: list[int],
        methods: list[str],
        needs: Needs,
        tracking_uri: str = "",
        overrides: list[str] = [],  # noqa: B006 - what KFP reads the default of
    ) -> Outputs:
        """Sweep as `config` says, and train the best of it with each of `seeds`.

        Args:
            config: a RunConfig with a `sweep` section, as JSON.
            run: name of the run in MLflow; steps of the same run are nested in one parent.
            seeds: of the trainings with the best values.
            methods: what these trainings are called: lens-s0 for the method lens and seed 0, in the order of the seeds.
            needs: of the steps that sample or train.
            tracking_uri: MLflow; empty: not tracked.
            overrides: values to change, each `key.path=value`, such as train.steps=200; the run is then another one.
        """
        settings = site.configure(config, run, overrides, tracking_uri)
        tracked = {"run": settings["run"], "tracking_uri": tracking_uri}
        data = site.place(prepare_data(tracking_uri=tracking_uri, **settings)).outputs["data"]
        base = site.base_policy(needs, **settings).outputs["policy"]
        swept = site.sweep(needs, config=settings["config"], seeds=seeds, data=data, **tracked)
        repeated = repeat(
            config=swept.outputs["Output"],
            methods=methods,
            data=data,
            base=base,
            **vars(needs),
            **tracked,
        )
        return Outputs(repeated.outputs["comparison"], repeated.outputs["report"], swept.outputs["trials"])

    return sweep_pipeline


def _build_repetition(site: Site) -> Any:
    """What follows the search.

    It is a pipeline of its own, for kfp.local 2.17 hands the loop's item to a loop wherever it takes a step's output.
    It has no step in common with the one that it is nested in: KFP would make one executor of two, with one placement.
    """

    @dsl.pipeline(
        name="over-seeds",
        description="Train the best of a sweep with each seed, and compare their Pass@k with the base's.",
    )
    @with_needs
    def over_seeds(
        config: str,
        run: str,
        methods: list[str],
        needs: Needs,
        tracking_uri: str,
        data: dsl.Input[dsl.Dataset],
        base: dsl.Input[dsl.Model],
    ) -> Compared:
        """Train with `config`, whose `methods` differ in their seed alone."""
        shared = {"config": config, "run": run, "tracking_uri": tracking_uri}
        base_evaluation = site.evaluate(needs, label="base", data=data, policy=base, is_last=False, **shared)
        base_evaluation.set_display_name("evaluate base")
        with dsl.ParallelFor(methods, name="seeds", parallelism=site.parallel) as method:
            trained = site.train(needs, method=method, data=data, base=base, **shared)
            evaluated = site.evaluate(
                needs, label=method, data=data, policy=trained.outputs["policy"], is_last=False, **shared
            )
        compared = compare(
            data=data,
            base_evaluation=base_evaluation.outputs["evaluation"],
            evaluations=dsl.Collected(evaluated.outputs["evaluation"]),
            policies=dsl.Collected(trained.outputs["policy"]),
            **shared,
        )
        site.place(compared)
        return Compared(compared.outputs["comparison"], compared.outputs["report"])

    return over_seeds
