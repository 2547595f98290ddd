"""What only a GPU can say, with one command, in ten minutes at most and without a network.

    python -m benchmarks.gpu                            on a GPU of 80 GB; in small on a CPU, to see that it runs
    python -m benchmarks.gpu --parts step-0.5b exactness
    python -m benchmarks.gpu --table gpu.json           the table once more, from what --output holds

A training step of our trainer beside stock TRL's at 0.5, 1.5 and 3 B parameters (random weights, bfloat16, the same
completions), its memory beside the estimate of `lens train --dry-run`, the distance of each economy's gradient in
bfloat16, generation, FSDP2 on one device, checkpoint and resume, and a study on the ladder with a policy of 50 M
parameters. Each part has a process of its own, so that one that fails or runs out of time takes nothing along; what is
known is in --output after each. Where only torch, transformers, accelerate and peft are installed, `scripts/gpu-wheels`
brings the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import CPU, GPU, PARTS, Figures


def measure(parts: Sequence[str], output: Path, deadline: float) -> dict[str, Any]:
    """What the parts measure until `deadline` (of time.monotonic), and how each of them ended."""
    found: dict[str, Any] = {
        "date": str(date.today()),
        "machine": f"{device()}, {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "parts": {},
        "figures": {},
    }
    for part in parts:
        print(f"\n== {part}", flush=True)
        start = time.monotonic()
        figures, ended = run(part, deadline - start)
        found["figures"] |= figures
        found["parts"][part] = f"{ended}, {time.monotonic() - start:.0f} s"
        output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def run(part: str, patience_s: float) -> tuple[Figures, str]:
    if patience_s <= 0:
        return {}, "no time was left"
    scale = GPU if torch.cuda.is_available() else CPU
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        command = [sys.executable, *QUIET, "-m", "benchmarks.gpu_parts", part, scale.small, str(path)]
        try:
            ended = subprocess.run(command, timeout=patience_s, check=False)
        except subprocess.TimeoutExpired:
            return {}, "out of time"
        if ended.returncode:
            return {}, f"failed with exit code {ended.returncode}"
        figures: Figures = json.loads(path.read_text(encoding="utf-8"))
        return figures, "done"


QUIET = ("-W", "ignore:TRL currently supports vLLM versions:UserWarning")
"""TRL says so seven times, whether vLLM is used or not; the versions are our own choice and tested."""


def device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: everything in small"


def table(found: dict[str, Any]) -> str:
    rows = [f"{found['date']}, {found['machine']}", "", "| what | figure |", "|---|---|"]
    rows += [f"| {name} | {shown(value)} |" for name, value in found["figures"].items()]
    rows += [f"| part `{name}` | {ended} |" for name, ended in found["parts"].items()]
    return "\n".join(rows)


def shown(value: float | list[float]) -> str:
    """Of pairs their geometric mean and range: there are too few of them for an interval."""
    if isinstance(value, list):
        return f"{statistics.geometric_mean(value):.2f} ({min(value):.2f} to {max(value):.2f}, {len(value)} pairs)"
    return f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), help="default: all")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=9.5, help="what does not fit is left out, and said so")
    parser.add_argument("--table", type=Path, help="print the table of this file, and measure nothing")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print(table(json.loads(arguments.table.read_text(encoding="utf-8"))))
        return
    deadline = time.monotonic() + 60 * arguments.minutes
    on_gpu = torch.cuda.is_available()
    parts = arguments.parts or [name for name in PARTS if name not in (NOT_ON_GPU if on_gpu else NOT_ON_CPU)]
    found = measure(parts, arguments.output, deadline)
    print(f"\n{table(found)}\n")
    print(json.dumps(found))
    sys.exit(any(not ended.startswith("done") for ended in found["parts"].values()))


NOT_ON_GPU = ("step-tiny",)
NOT_ON_CPU = ("step-0.5b", "step-1.5b", "step-3b")


if __name__ == "__main__":
    main()
