"""Rollouts by Ray actors beside the trainers.

Each actor holds a whole copy of the policy. The trainer puts new weights into Ray's object store after an update; every
request names the weights that it wants, and an actor that has others loads them first. An actor that dies is started
again by Ray, and its requests are repeated: they carry all that they need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_core.config import RolloutConfig
from lens_core.credentials import mask_log_records
from lens_core.errors import LensError, first_line

if TYPE_CHECKING:
    from torch import Tensor

    from lens_core.rollout.decode import Sampled
    from lens_core.rollout.engine import Engine, SamplingConfig

_PLACEMENT_DEADLINE_S = 600
"""A cluster that grows may have to start a node first."""
_RESTARTS = 3


class RolloutWorker:
    """One actor: an engine, and the weights that it was last asked for.

    Args:
        max_length: of prompt and completion together, in tokens.
    """

    def __init__(self, base: Path, engine: str, max_length: int) -> None:
        mask_log_records()
        # Built by the first call: what an actor's __init__ raises reaches nobody as an exception of its own type.
        self._engine: Engine | None = None
        self._build = partial(_engine, base, engine, max_length)
        self._weights: Any = None

    def ready(self) -> int:
        """Its process id, once the policy is loaded.

        Raises:
            LensError: if it cannot be.
        """
        self._engine = self._build()
        return os.getpid()

    def sample(
        self,
        weights: list[Any],
        prompts: Sequence[Sequence[int]],
        sampling: SamplingConfig,
        seed: int,
        first_row: int,
    ) -> Sampled:
        """One completion of each prompt, drawn from the weights that `weights` refers to."""
        import ray
        from safetensors.torch import load

        if self._engine is None:  # started again after its process had died
            self._engine = self._build()
        if weights[0] != self._weights:
            self._engine.load_weights(load(ray.get(weights[0])))
            self._weights = weights[0]
        return self._engine.sample_ids(prompts, sampling, seed, first_row)


def _engine(base: Path, engine: str, max_length: int) -> Engine:
    if engine == "vllm":
        from lens_core.rollout.vllm_engine import VllmEngine

        return VllmEngine(base, max_length)
    import torch

    from lens_core.rollout.engine import TransformersEngine, load_policy

    return TransformersEngine(*load_policy(base, dtype=torch.float32))


@dataclass
class RolloutWorkers:
    """All actors as one AsyncSampler (lens_core.training.engine_rollouts); travels to the trainers as it is."""

    actors: Sequence[Any]
    weights: Any = None

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Put `weights` where the actors find them; requests that were made before keep the older ones."""
        import ray
        from safetensors.torch import save

        apart = {name: weight.clone() for name, weight in weights.items()}  # safetensors refuses shared memory
        self.weights = ray.put(save(apart))

    def sample_ids(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Sampled:
        return self.start(prompts, sampling, seed, first_row)()

    def start(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Callable[[], Sampled]:
        """See AsyncSampler; each actor draws for its stretch of the prompts.

        Raises:
            LensError: by the result, if an actor fails, or dies more often than it is started again.
        """
        count = len(self.actors)
        cuts = [len(prompts) * index // count for index in range(count + 1)]
        requests = [
            # In a list a reference is passed on as it is, and not fetched before it is known to be new.
            actor.sample.remote([self.weights], prompts[start:end], sampling, seed, first_row + start)
            for actor, start, end in zip(self.actors, cuts, cuts[1:], strict=False)
            if start < end
        ]
        return lambda: _together(requests)


def _together(requests: Sequence[Any]) -> Sampled:
    import ray

    from lens_core.rollout.decode import Sampled

    try:
        parts: list[Sampled] = ray.get(list(requests))
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        raise LensError(f"a rollout worker failed: {first_line(cause)}") from error
    return Sampled(
        token_ids=[row for part in parts for row in part.token_ids],
        logprobs=[row for part in parts for row in part.logprobs],
        entropies=[row for part in parts for row in part.entropies],
    )


def gpus_each(config: RolloutConfig, gpus_of_cluster: float) -> float:
    """What an actor asks for."""
    if config.gpus_each is None:
        return 1.0 if gpus_of_cluster else 0.0
    return config.gpus_each


@contextmanager
def rollout_workers(config: RolloutConfig, base: Path, max_length: int) -> Iterator[RolloutWorkers]:
    """Actors for the block, on the cluster that is connected.

    Raises:
        LensError: if the cluster has no room for them in ten minutes, or they cannot load `base`.
    """
    import ray

    gpus = gpus_each(config, ray.cluster_resources().get("GPU", 0))
    worker = ray.remote(RolloutWorker).options(
        num_cpus=config.cpus_each, num_gpus=gpus, max_restarts=_RESTARTS, max_task_retries=_RESTARTS
    )
    actors = [worker.remote(base, config.engine, max_length) for _ in range(config.workers)]
    try:
        try:
            ray.get([actor.ready.remote() for actor in actors], timeout=_PLACEMENT_DEADLINE_S)
        except ray.exceptions.GetTimeoutError as error:
            raise LensError(
                f"no room for {config.workers} rollout workers with {config.cpus_each} CPUs and {gpus:g} GPUs each in "
                f"{_PLACEMENT_DEADLINE_S // 60} minutes; the cluster has {ray.cluster_resources()}"
            ) from error
        except ray.exceptions.RayError as error:
            cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
            raise LensError(f"rollout workers cannot start: {first_line(cause)}") from error
        yield RolloutWorkers(actors)
    finally:
        for actor in actors:
            ray.kill(actor)
