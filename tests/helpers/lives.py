"""What test_kill.py starts: a training that is killed at random moments and resumed, each life in a process of its own.

    python tests/helpers/lives.py BASE DATA OUTPUT STORE KILLS

Lives are forked from this process once everything is imported, so that a life costs no imports.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (imported here so that no life has to)

import lens_core.training.run  # noqa: F401
from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.tracking import Tracking
from lens_core.training.metrics_file import read_metrics

OVERRIDES = [
    "base=tiny",
    "train.steps=100",
    "train.prompts_per_step=2",
    "train.updates_per_batch=2",
    "train.group_size=4",
    "train.max_new_tokens=8",
    "train.checkpoint_every=1",
    "train.learning_rate=1e-3",
    "train.warmup_steps=4",
    "train.schedule=cosine",
]


def configuration() -> RunConfig:
    return load_config("demo", OVERRIDES)


def live(base: Path, data: Path, output: Path, store: str) -> None:
    stages.train(configuration(), "lens", data, base, output, Tracking(store, "lives"), resume=True)


def main(base: Path, data: Path, output: Path, store: str, kills: int) -> None:
    moments = random.Random(0)
    for life in range(kills + 1):
        before = steps(output)
        pid = os.fork()
        if pid == 0:
            live(base, data, output, store)
            os._exit(0)
        if life < kills:
            # Once the life is past its start, at any moment of the next steps: rollout, update, saving, renaming.
            while steps(output) <= before and os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
            time.sleep(moments.uniform(0.0, 0.4))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(f"life {life}: {os.waitstatus_to_exitcode(status)} after step {steps(output)}", flush=True)
    sys.exit(os.waitstatus_to_exitcode(status))


def steps(output: Path) -> int:
    """The last step that the training has written down."""
    return max((int(step["step"]) for step in read_metrics(output)), default=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
