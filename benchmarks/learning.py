"""Does the demo learn? Pass@1 by level for base, GRPO and LENS over several seeds, paired by seed.

    python -m benchmarks.learning --seeds 5

Every seed trains each method from the shipped base on the same problems, in another order and with other draws; every
policy answers the same test problems. Finished trainings in --output are reused.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

from lens_core import stages
from lens_core.config import RunConfig, load_config
from lens_core.evaluation.records import PassKReport, read_report

LEVELS = (1, 2, 3, 4, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path(".lens/benchmarks/learning"))
    parser.add_argument("--quick", action="store_true", help="one seed, 2 steps, 4 problems a level")
    arguments = parser.parse_args()
    quick = ["train.steps=2", "train.warmup_steps=1", "data.test.per_level=4"] if arguments.quick else []
    seeds = 1 if arguments.quick else arguments.seeds
    output = arguments.output / "quick" if arguments.quick else arguments.output
    configs = [load_config("demo", [f"train.seed={seed}", f"data.seed={seed}", *quick]) for seed in range(seeds)]
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // arguments.workers))
    for seed, config in enumerate(configs):
        stages.prepare(config, output / f"data-{seed}")
    base = stages.base(configs[0], output / "base-policy")
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        base_result = pool.submit(measure_base, configs[0], output / "data-0", base, output / "base")
        results = {
            method: [
                pool.submit(measure, config, method, output / f"data-{seed}", base, output / f"{method}-{seed}")
                for seed, config in enumerate(configs)
            ]
            for method in configs[0].methods
        }
        report(
            configs[0], base_result.result(), {name: [run.result() for run in runs] for name, runs in results.items()}
        )


def measure_base(config: RunConfig, data: Path, policy: Path, folder: Path) -> PassKReport:
    return _evaluated(config, stages.BASE, data, policy, folder)


def measure(config: RunConfig, method: str, data: Path, base: Path, folder: Path) -> PassKReport:
    """Train and evaluate one method on one seed, unless `folder` already holds the result."""
    if not (folder / stages.TRAINING_FILE).exists():
        stages.train(config, method, data, base, folder)
    return _evaluated(config, method, data, folder, folder / "evaluation")


def _evaluated(config: RunConfig, label: str, data: Path, policy: Path, folder: Path) -> PassKReport:
    if not (folder / stages.PASSK_FILE).exists():
        stages.evaluate(config, label, data, policy, folder)
    return read_report(folder)


def report(config: RunConfig, base: PassKReport, methods: dict[str, list[PassKReport]]) -> None:
    """Print the table in Markdown, and its figures as one JSON object on the last line."""
    seeds = len(next(iter(methods.values())))
    print(f"\n{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {config.train.steps} steps, {seeds} seeds")
    print("Pass@1 in %: mean over seeds, (lowest to highest seed)\n")
    print("| level | base | " + " | ".join(methods) + " |\n|---|---|" + "---|" * len(methods))
    figures: dict[str, dict[str, object]] = {}
    for level in LEVELS:
        before = 100 * base.levels[level][1].estimate
        row, figures[f"level_{level}"] = [f"{before:.1f}"], {"base": round(before, 2)}
        for name, runs in methods.items():
            after = [100 * run.levels[level][1].estimate for run in runs]
            row.append(f"{statistics.mean(after):.1f} ({min(after):.1f} to {max(after):.1f})")
            figures[f"level_{level}"][name] = [round(value, 2) for value in after]
        print(f"| {level} | " + " | ".join(row) + " |")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
