"""Names of the files that stages write, and whose a folder is."""

from __future__ import annotations

import json
from pathlib import Path

from lens_core.config import RunConfig
from lens_core.errors import LensError

BASE = "base"
"""Label of the base policy in tables."""
TRAINING_FILE, REPORT_FILE = "training.json", "report.html"
VALIDATION_FILE = "validation.jsonl"
"""In a training's folder: what its checkpoints reached on held-out problems."""
COMPARISON_FILE, PAIRED_FILE, RUN_FILE, DESIGN_FILE = "comparison.json", "paired.json", "run.json", "design.json"


def claim(config: RunConfig, output: Path) -> None:
    """Write down which configuration `output` belongs to.

    Raises:
        LensError: if it belongs to another one.
    """
    output.mkdir(parents=True, exist_ok=True)
    path, digest = output / DESIGN_FILE, config.digest()
    if path.exists() and json.loads(path.read_text(encoding="utf-8"))["digest"] != digest:
        raise LensError(f"{output} holds another {config.name}, or one with other values: choose another folder")
    path.write_text(json.dumps({"digest": digest, "config": config.model_dump(mode="json")}, indent=2) + "\n", "utf-8")
