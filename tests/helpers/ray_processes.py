"""Processes that Ray has started."""

from contextlib import suppress

import psutil


def training_workers(pid: int) -> list[psutil.Process]:
    """Of the cluster that process `pid` has started; others come and go meanwhile."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in child.name():
                found.append(child)
    return found
