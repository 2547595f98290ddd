"""Metrics on their way to MLflow, which nobody waits for."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Protocol

from lens_core.errors import LensError

logger = logging.getLogger(__name__)


class TakesMetrics(Protocol):
    """A run."""

    def metrics(self, values: Mapping[str, float], step: int = 0, *, at_s: float) -> None: ...


class MetricsSender:
    """Sends the metrics of a run's steps in the background, in order; a server that is away gets them later.

    Nothing is lost with the process: steps that were not sent are in the training's metrics file, and a resumed run
    sends what the server does not have (see `last_step`).
    """

    def __init__(self, run: TakesMetrics) -> None:
        self._run = run
        self._queue: queue.SimpleQueue[tuple[float, int, dict[str, float]] | None] = queue.SimpleQueue()
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="mlflow-metrics", daemon=True)
        self._thread.start()

    def put(self, step: int, values: Mapping[str, float]) -> None:
        self._queue.put((time.time(), step, dict(values)))

    def close(self, patience_s: float = 60.0) -> None:
        """Wait until everything has arrived, or `patience_s` have passed.

        Raises:
            LensError: if the server still does not take them.
        """
        self._queue.put(None)
        self._thread.join(patience_s)
        if self._thread.is_alive():
            self._give_up.set()
            raise LensError(
                "MLflow does not take the metrics of the last steps; they are in the training's metrics file, and the "
                "same command with --resume sends them once the server is back"
            )

    def _send_all(self) -> None:
        import tenacity

        retrying = tenacity.Retrying(
            wait=tenacity.wait_random_exponential(max=10),
            stop=tenacity.stop_when_event_set(self._give_up),
            sleep=tenacity.sleep_using_event(self._give_up),
            before_sleep=tenacity.before_sleep_log(logger, logging.WARNING),
        )
        while (item := self._queue.get()) is not None:
            at_s, step, values = item
            try:
                # The same time at every try: a server whose answer was lost has the point, and takes it for that one.
                retrying(self._run.metrics, values, step, at_s=at_s)
            except tenacity.RetryError:  # given up: `close` has said so
                return
