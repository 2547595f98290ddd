"""Independent pieces of work side by side on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lens_core.distributed.ray_cluster import ray_cluster
from lens_core.errors import first_line


def run_tasks(
    function: Callable[..., None], tasks: Mapping[str, tuple[Any, ...]], cpus: float, gpus: float
) -> Iterator[tuple[str, str | None]]:
    """Call `function` with the arguments of each task, and yield `(name, None)`, or its error on one line, as they end.

    Tasks start in their order, as many at a time as the cluster has room for, and one that fails does not disturb the
    others. What a task gives back it writes into files; a killed worker process is an error like another.

    Args:
        cpus: of Ray's that each task takes; it uses as many threads.
    """
    if not tasks:
        return
    with ray_cluster():
        import ray

        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(function)
        running = {remote.remote(*arguments): name for name, arguments in tasks.items()}
        while running:
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            try:
                ray.get(ended)
                error = None
            except ray.exceptions.RayTaskError as failure:  # ray.get raises one that is of its cause's type too
                error = f"{type(failure.cause).__name__}: {first_line(failure.cause)}"
            except ray.exceptions.RayError as failure:
                error = first_line(failure)
            yield running.pop(ended), error
