"""Use of the machine beside a run's own metrics: processors, memory, disk, network, and GPUs where pynvml is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lens_core.errors import LensError
from lens_core.tracking.sender import MetricsSender, logger
from lens_core.tracking.store import HEARTBEAT

if TYPE_CHECKING:
    from lens_core.tracking.run import StageRun


@contextmanager
def watched(run: StageRun) -> Iterator[None]:
    """Sample the machine every 10 s (MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL) and at the end, in the background.

    A server that is away gets the samples later; what it has not taken in the end is given up, with a warning.
    """
    sender, stop = MetricsSender(run), threading.Event()
    thread = threading.Thread(target=_sample, args=(run, sender, stop), name="system-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        try:
            sender.close(patience_s=10)
        except LensError:
            logger.warning("MLflow does not take the last system metrics of run %s: they are given up", run.run_id)


def _sample(run: StageRun, sender: MetricsSender, stop: threading.Event) -> None:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # MLflow's own thread would end for good when the server is away once, so that only its sensors are used.
    sensors = SystemMetricsMonitor(run.run_id, tracking_uri=run.client.tracking_uri)
    sensors.collect_metrics()  # the first reading of a processor's load means nothing
    ended = False
    while not ended:
        for monitor in sensors.monitors:
            monitor.clear_metrics()
        ended = stop.wait(sensors.sampling_interval)
        sensors.collect_metrics()
        metrics = {f"system/{name}": value for name, value in sensors.aggregate_metrics().items()}
        # Seconds and no counter: a resumed run goes on to the right of what it has.
        sender.put(int(time.time() - run.started_s), metrics | {HEARTBEAT: time.time()})
