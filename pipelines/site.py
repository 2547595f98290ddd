"""The site where steps run, and what they get there, from settings that RayJobs have too (`lens_core.kube.settings`).

What may differ from run to run is a parameter of the pipeline: GPUs, memory, where pods may run. The rest is fixed when
a pipeline is compiled, for KFP takes it no later. On this machine nothing of it applies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from itertools import chain
from typing import Any, Self, get_type_hints

from kfp import kubernetes
from kfp.dsl import PipelineTask

from lens_components.base_policy.component import base_policy
from lens_components.configure.component import configure
from lens_components.evaluate.component import evaluate
from lens_components.sweep.component import sweep, sweep_as_rayjob
from lens_components.train.component import train, train_as_rayjob
from lens_core.config import json_parameter
from lens_core.errors import LensError
from lens_core.kube.kfp_task import GPU, evaluation_node, trainer_node
from lens_core.kube.rayjob import QUEUE
from lens_core.kube.settings import ClusterConfig, NodeConfig

_RETRIES, _FIRST_WAIT, _RETRIED_FOR = 2, "30s", "365d"
"""Servers restart; what is wrong with a configuration was found before anything was submitted.

The third is no longest wait. KFP makes Argo's maxDuration of it: the time from a step's first start in which it may be
tried again, of which the rest is the deadline of the pod that tries again. Shorter than a training, it would end that;
without it, KFP takes an hour.
"""
_CPUS, _MEMORY, _MOST_MEMORY = "1", "4Gi", "8Gi"
"""Of steps that neither sample nor train: requests, and a limit."""


@dataclass(frozen=True)
class Needs:
    """What the steps of a pipeline that sample or train are given; each field is a parameter of the pipeline.

    KFP's server reads amounts as strings; a number would count as nothing.

    Attributes:
        cpus: of each step that trains.
        memory: of each of them, such as 16Gi.
        gpus: of each of them, as a string; "0": none.
        gpu_type: resource that Kubernetes counts them as.
        node_selector: labels of the nodes that they may run on.
        tolerations: of their pods, as in Kubernetes.
        evaluation_cpus: of each evaluation, and of the step that loads the base policy.
        evaluation_memory: of each of them.
        evaluation_gpus: of each evaluation, as a string; "0": none.
        evaluation_node_selector: labels of the nodes that these steps may run on.
        evaluation_tolerations: of their pods, as in Kubernetes.
    """

    cpus: str
    memory: str
    gpus: str
    gpu_type: str
    node_selector: dict[str, str]
    tolerations: list[dict[str, str]]
    evaluation_cpus: str
    evaluation_memory: str
    evaluation_gpus: str
    evaluation_node_selector: dict[str, str]
    evaluation_tolerations: list[dict[str, str]]

    @classmethod
    def of(cls, cluster: ClusterConfig) -> Self:
        """What a pod has that trains in a RayJob of this cluster, and one that evaluates."""
        node, evaluation = trainer_node(cluster), evaluation_node(cluster)
        return cls(
            cpus=node.cpus,
            memory=node.memory,
            gpus=str(node.gpus),
            gpu_type=GPU,
            node_selector=_node_selector(node),
            tolerations=_tolerations(node),
            evaluation_cpus=evaluation.cpus,
            evaluation_memory=evaluation.memory,
            evaluation_gpus=str(evaluation.gpus),
            evaluation_node_selector=_node_selector(evaluation),
            evaluation_tolerations=_tolerations(evaluation),
        )

    @property
    def of_evaluations(self) -> Self:
        """The same, as needs of a step that evaluates."""
        own = {
            each.name.removeprefix(_EVALUATION): each.name for each in fields(self) if each.name.startswith(_EVALUATION)
        }
        return replace(self, **{name: getattr(self, source) for name, source in own.items()})


_EVALUATION = "evaluation_"


def _node_selector(node: NodeConfig) -> dict[str, str]:
    product = {} if node.gpu_product is None else {f"{GPU}.product": node.gpu_product}
    return {**product, **node.node_selector}


def _tolerations(node: NodeConfig) -> list[dict[str, str]]:
    return [each.model_dump(exclude_none=True) for each in node.tolerations]


def with_needs(pipeline: Callable[..., Any]) -> Callable[..., Any]:
    """For the function under `dsl.pipeline`: its parameter `needs` becomes one parameter for each field of Needs.

    A parameter of KFP's is handed on whole: of a mapping, no setter of a task could be given one value.
    """
    types = get_type_hints(Needs)
    taken = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=types[name]) for name in types]
    signature = inspect.signature(pipeline)
    given = [taken if each.name == "needs" else [each] for each in signature.parameters.values()]
    expanded = signature.replace(parameters=list(chain.from_iterable(given)))

    @wraps(pipeline)
    def build(*values: Any) -> Any:
        arguments = expanded.bind(*values).arguments
        return pipeline(needs=Needs(**{name: arguments.pop(name) for name in types}), **arguments)

    _, heading, described = str(inspect.getdoc(Needs)).partition("Attributes:")
    build.__doc__ = f"{inspect.getdoc(pipeline)}\n\n{heading}{described}"
    build.__signature__ = expanded  # type: ignore[attr-defined]  # what inspect.signature, and so KFP, goes by
    return build


@dataclass(frozen=True)
class Site:
    """Where the steps of a pipeline run.

    Raises:
        LensError: if RayJobs have no volume to leave their policies on.
    """

    cluster: ClusterConfig | None = None
    """None: this machine."""
    rayjobs: bool = False
    """Each training, and a sweep, is a RayJob of its own; else the step does the work."""

    def __post_init__(self) -> None:
        if self.rayjobs and not self.shared:
            raise LensError("trainings as RayJobs need a volume that step and job share: name it under volumes")

    @property
    def shared(self) -> str:
        """Where trainings lie that may have to go on: on the first volume that can be written to; empty: nowhere."""
        volumes = () if self.cluster is None else self.cluster.volumes
        return next((f"{volume.path}/pipelines" for volume in volumes if not volume.read_only), "")

    def configure(self, config: str, run: str, overrides: list[str], tracking_uri: str) -> dict[str, Any]:
        """The inputs `config` and `run` of every other step; on this machine `--set` has changed them already."""
        if self.cluster is None:
            return {"config": config, "run": run}
        task = self.place(configure(config=config, overrides=overrides, run=run, tracking_uri=tracking_uri))
        return {"config": task.outputs["config"], "run": task.outputs["run"]}

    def train(self, needs: Needs, **inputs: Any) -> PipelineTask:
        """The step that trains a method; `inputs` are those that both ways have."""
        if not self.rayjobs:
            return self._at_work(train(shared=self.shared, **inputs), needs, trainer_node, is_cached=False)
        return self._launch(train_as_rayjob, needs, **inputs)

    def sweep(self, needs: Needs, **inputs: Any) -> PipelineTask:
        """The step that tunes; `inputs` are those that both ways have."""
        if not self.rayjobs:
            return self._at_work(sweep(**inputs), needs, trainer_node, is_cached=False)
        return self._launch(sweep_as_rayjob, needs, **inputs)

    def _launch(self, component: Any, needs: Needs, **inputs: Any) -> PipelineTask:
        assert self.cluster is not None
        task = component(shared=self.shared, cluster=json_parameter(self.cluster), **inputs)
        # The pod knows its name, so that the job goes with it.
        kubernetes.use_field_path_as_env(task, "POD_NAME", "metadata.name")
        kubernetes.use_field_path_as_env(task, "POD_UID", "metadata.uid")
        return self.place(task, needs, is_cached=False)

    def evaluate(self, needs: Needs, **inputs: Any) -> PipelineTask:
        """The step that evaluates a policy."""
        return self._at_work(evaluate(**inputs), needs.of_evaluations, evaluation_node)

    def base_policy(self, needs: Needs, **inputs: str) -> PipelineTask:
        """The step that loads the base policy: with the memory of an evaluation, and no GPU."""
        task = self.place(base_policy(**inputs))
        return task if self.cluster is None else _queued(_located(task, needs.of_evaluations), self.cluster)

    @property
    def parallel(self) -> int | None:
        """Branches of a loop at a time; None: as many as the runner likes."""
        return None if self.cluster is None else self.cluster.parallel

    def place(self, task: PipelineTask, needs: Needs | None = None, is_cached: bool = True) -> PipelineTask:
        """Give `task` what it gets on the cluster.

        Args:
            needs: None: the step neither samples nor trains.
            is_cached: whether an equal step of an earlier run may stand in for this one. On this machine it may always:
                the run's name holds for configuration and code.
        """
        if self.cluster is None:
            return task
        task.set_caching_options(is_cached)
        task.set_retry(_RETRIES, backoff_duration=_FIRST_WAIT, backoff_factor=2, backoff_max_duration=_RETRIED_FOR)
        _let_run(task, self.cluster)
        if needs is None:
            return task.set_cpu_request(_CPUS).set_memory_request(_MEMORY).set_memory_limit(_MOST_MEMORY)
        return _accelerate(task, needs)

    def _at_work(
        self, task: PipelineTask, needs: Needs, node: Callable[[ClusterConfig], NodeConfig], is_cached: bool = True
    ) -> PipelineTask:
        """A step that samples or trains itself, in a pod like `node`: through the queue, and with room in /dev/shm.

        Ray's object store and data loaders put there what processes share.
        """
        task = self.place(task, needs, is_cached)
        if self.cluster is None:
            return task
        size = node(self.cluster).shared_memory
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=size)
        return _queued(task, self.cluster)


def _let_run(task: PipelineTask, cluster: ClusterConfig) -> None:
    """Image, identity, environment and volumes."""
    task.set_container_image(cluster.image)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    kubernetes.set_security_context(task, run_as_user=cluster.run_as, run_as_group=cluster.run_as, run_as_non_root=True)
    for name, value in cluster.env.items():
        task.set_env_variable(name, value)
    for name, secret in cluster.secrets.items():
        kubernetes.use_secret_as_env(task, secret.name, {secret.key: name})
    for volume in cluster.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path)


def _accelerate(task: PipelineTask, needs: Needs) -> PipelineTask:
    task.set_accelerator_type(needs.gpu_type).set_accelerator_limit(needs.gpus)
    # KFP 2.17 forgets to hand these down into a ParallelFor, where the step would not find them.
    task.register_pipeline_channels([needs.cpus, needs.memory, needs.gpus, needs.gpu_type])
    return _located(task, needs)


def _located(task: PipelineTask, needs: Needs) -> PipelineTask:
    """CPUs, memory, and the nodes that have them."""
    task.set_cpu_request(needs.cpus).set_cpu_limit(needs.cpus)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory)
    kubernetes.add_node_selector_json(task, needs.node_selector)
    return kubernetes.add_toleration_json(task, needs.tolerations)


def _queued(task: PipelineTask, cluster: ClusterConfig) -> PipelineTask:
    """Kueue holds a pod with this label back until its queue has room for it."""
    return task if cluster.queue is None else kubernetes.add_pod_label(task, QUEUE, cluster.queue)
