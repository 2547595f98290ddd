"""What test_evaluation.py starts, and kills: an evaluation in a process of its own, which tells what is on disk.

python tests/helpers/evaluation_life.py POLICY DATA OUTPUT
"""

import sys
from pathlib import Path

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.progress import print_marked

SMALL = ["evaluation.n=4", "evaluation.ks=[1,4]", "evaluation.max_new_tokens=24", "evaluation.batch_size=8"]


def configuration(*overrides: str) -> RunConfig:
    return load_config("demo", [*SMALL, "evaluation.engine=transformers", *overrides])


if __name__ == "__main__":
    policy, data, output = map(Path, sys.argv[1:])
    stages.evaluate(configuration(), "tiny", data, policy, output, on_progress=print_marked)
