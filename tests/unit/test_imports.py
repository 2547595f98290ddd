"""The rooms of the house: who may import whom, and what an import may cost."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

# Room -> (rooms of ours that it may import, third-party packages that it may import). Anything inside a function counts
# as well: a lazy import is still a dependency.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "lens_core.errors": (set(), set()),
    "lens_core.objective": (set(), {"torch"}),
    "lens_core.baselines": ({"objective"}, {"torch"}),
    "lens_core.passk": (set(), {"numpy", "scipy"}),
    "lens_core.progress": (set(), {"rich"}),
    "lens_core.sections": ({"errors"}, {"pydantic", "yaml"}),
    "lens_core.config": ({"errors", "sections", "baselines", "verify"}, {"pydantic", "yaml"}),
    "lens_core.data": ({"errors", "sections", "config", "progress"}, {"pydantic", "datasets", "pyarrow", "rensa"}),
    "lens_core.verify": (set(), {"latex2sympy2_extended", "sympy"}),
    "lens_core.rollout": (
        {"errors", "config"},
        {"numpy", "torch", "transformers", "tokenizers", "pydantic", "safetensors", "vllm"},
    ),
    "lens_core.training": (
        {"errors", "config", "objective", "baselines", "data", "verify", "rollout"},
        {"torch", "trl", "transformers", "datasets", "tokenizers", "pydantic", "safetensors", "peft", "accelerate"},
    ),
    "lens_core.evaluation": (
        {"errors", "config", "passk", "data", "verify", "rollout"},
        {"numpy", "pydantic", "scipy"},
    ),
    "lens_core.distributed": (
        {"errors", "config", "passk", "data", "rollout", "training", "evaluation"},
        {"ray", "optuna", "torch", "transformers", "safetensors"},
    ),
    "lens_core.tracking": ({"errors"}, {"mlflow", "psutil", "requests", "tenacity"}),
    "lens_core.report": (
        {"passk", "evaluation", "data", "tracking", "doctor"},
        {"numpy", "matplotlib", "jinja2", "markupsafe", "optuna", "rich", "huggingface_hub"},
    ),
    "lens_core.doctor": ({"errors", "tracking"}, {"packaging", "psutil", "requests", "torch"}),
    "lens_core.registration": (
        {"errors", "config", "evaluation", "progress", "report", "stages", "tracking"},
        set(),
    ),
    "lens_core.remote": (
        {"errors", "config", "kube", "progress", "stages", "sweep", "tracking"},
        {"yaml"},
    ),
    "lens_core.cli_options": ({"config"}, {"typer"}),
    "lens_core.cli_output": ({"progress"}, {"pydantic_core", "typer"}),
    "lens_core.cli_runs": (
        {"errors", "registration", "report", "doctor", "tracking", "cli_options", "cli_output"},
        {"typer"},
    ),
    "lens_core.integrations": ({"errors", "objective"}, {"torch", "verl"}),
    "lens_core.plan": ({"errors", "config"}, set()),
    "lens_core.kube": ({"errors", "sections"}, {"kubernetes", "pydantic", "requests", "tenacity", "urllib3", "yaml"}),
    "lens_core.cli_kube": ({"errors", "kube", "cli_output"}, {"typer", "yaml"}),
    "lens_core.cli_pipeline": (
        {"errors", "evaluation", "kube", "report", "pipelines", "cli_options", "cli_output"},
        {"typer", "rich"},
    ),
    "lens_core.recipes": (set(), set()),
    "lens_core.stages": (
        {
            "errors",
            "config",
            "data",
            "verify",
            "rollout",
            "training",
            "distributed",
            "evaluation",
            "tracking",
            "report",
            "progress",
        },
        set(),
    ),
    "lens_core.study": (
        {
            "errors",
            "baselines",
            "config",
            "data",
            "training",
            "distributed",
            "evaluation",
            "stages",
            "tracking",
            "report",
            "progress",
        },
        set(),
    ),
    "lens_core.sweep": (
        {
            "errors",
            "config",
            "data",
            "distributed",
            "stages",
            "tracking",
            "report",
            "progress",
        },
        {"yaml"},
    ),
    "lens_core.cli": (
        {
            "cli_kube",
            "cli_options",
            "cli_output",
            "cli_pipeline",
            "cli_runs",
            "errors",
            "config",
            "kube",
            "passk",
            "data",
            "training",
            "evaluation",
            "distributed",
            "stages",
            "study",
            "sweep",
            "tracking",
            "report",
            "progress",
            "plan",
        },
        {"typer", "rich", "yaml"},
    ),
    "components": (
        {"config", "data", "kube", "progress", "registration", "remote", "stages", "sweep", "tracking", "components"},
        {"kfp"},
    ),
    "pipelines": (
        {"errors", "config", "progress", "stages", "sweep", "tracking", "kube", "components", "pipelines"},
        {"google", "kfp", "kfp_server_api", "tenacity", "urllib3"},
    ),
}
DEFINITIONS = {"pipelines.cluster", *(f"pipelines.{name}_pipeline" for name in ("lens", "sweep", "evaluate"))}
"""Modules that are there to be compiled."""
LAZY = {"ray", "kfp", "kfp_server_api", "mlflow", "vllm", "kubernetes", "requests"}
"""Imported inside the functions that use them."""


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "lens_core" else parts[0]


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at module level) of each import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "lens_core" else [node.module]
            )
            found += [(name, id(node) in top) for name in names]
    return found


FILES = [path for package in ("lens_core", "components", "pipelines") for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    room = room_of(module)
    if room == "lens_core.__init__":
        assert imports(path) == []
        return
    ours, theirs = ROOMS[room]
    for name, at_top in imports(path):
        root = name.split(".")[0]
        if root in sys.stdlib_module_names:
            continue
        if root in ("lens_core", "components", "pipelines"):
            target = room_of(name).removeprefix("lens_core.")
            assert target in ours or room_of(name) == room, f"{module} must not import {name}"
        else:
            assert root in theirs, f"{module} must not import {name}"
            defines_pipelines = room == "components" or module in DEFINITIONS
            assert not (at_top and root in LAZY) or defines_pipelines, f"{module} must import {name} inside a function"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lens_core.objective", {"trl", "transformers", "mlflow", "kfp", "ray", "pydantic"}),
        ("lens_core.cli", {"torch", "trl", "transformers", "mlflow", "kfp", "pydantic", "matplotlib"}),
        ("lens_core.stages", {"trl", "transformers", "mlflow", "kfp", "matplotlib"}),
        ("lens_core.remote", {"trl", "transformers", "mlflow", "kubernetes", "ray", "matplotlib"}),
        ("lens_core.training.trainer", set() if torch.accelerator.is_available() else {"vllm"}),
        ("lens_core.kube.watchdog", {"torch", "pydantic", "kubernetes", "ray"}),
        ("lens_core.kube.settings", {"torch", "kubernetes"}),
    ],
)
def test_imports_cost_only_what_they_need(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_picture_of_the_house_shows_what_the_table_allows() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    arrows = re.findall(r"^    (\w+) --> (\w+)", re.sub(r"\[\".*?\"\]", "", text), re.MULTILINE)
    assert len(arrows) > 20
    for source, target in arrows:
        rooms = [room for room in ROOMS if re.fullmatch(rf"(lens_core\.)?{source}(_\w+)?", room)]
        assert any(target in ROOMS[room][0] for room in rooms), f"{source} --> {target}"
