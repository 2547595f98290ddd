"""The rooms of the house: who may import whom, and what an import may cost."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

# Room -> (rooms of ours that it may import, third-party packages that it may import). Anything inside a function counts
# as well: a lazy import is still a dependency.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "credentials": (set(), set()),
    "errors": ({"credentials"}, set()),
    "files": ({"errors"}, set()),
    "folders": ({"errors", "files"}, {"filelock"}),
    "signals": (set(), {"psutil"}),
    "processes": (set(), set()),
    "progress": (set(), set()),
    "recipes": (set(), set()),
    "lookup": (set(), set()),
    "objective": (set(), {"torch"}),
    "baselines": ({"lookup", "objective"}, {"torch"}),
    "integrations": ({"errors", "objective"}, {"torch", "verl"}),
    "verify": ({"lookup", "processes"}, {"latex2sympy2_extended", "reasoning_gym", "sympy"}),
    "config": ({"errors", "credentials", "files", "lookup", "objective", "baselines", "verify"}, {"pydantic", "yaml"}),
    "data": (
        {"errors", "files", "config", "lookup", "progress", "verify"},
        {"pydantic", "datasets", "pyarrow", "reasoning_gym", "rensa", "yaml"},
    ),
    "rollout": (
        {"errors", "files", "processes", "progress", "config"},
        {"jinja2", "numpy", "torch", "transformers", "tokenizers", "pydantic", "safetensors", "vllm"},
    ),
    "training": (
        {"errors", "files", "signals", "config", "objective", "baselines", "data", "verify", "rollout"},
        {"torch", "trl", "transformers", "datasets", "tokenizers", "pydantic", "safetensors", "peft", "accelerate"},
    ),
    "evaluation": ({"errors", "files", "config", "data", "verify", "rollout"}, {"numpy", "pydantic", "scipy"}),
    "distributed": (
        {
            "errors",
            "credentials",
            "files",
            "processes",
            "signals",
            "config",
            "data",
            "rollout",
            "training",
            "evaluation",
        },
        {"ray", "optuna", "torch", "transformers", "safetensors"},
    ),
    "tracking": (
        {"errors", "credentials", "files", "signals", "config"},
        {"filelock", "mlflow", "psutil", "requests", "sqlalchemy", "tenacity"},
    ),
    "report": (
        {"files", "data", "evaluation"},
        {"numpy", "matplotlib", "jinja2", "markupsafe", "optuna", "huggingface_hub"},
    ),
    "kube": (
        {"errors", "credentials", "processes", "signals", "config"},
        {"kubernetes", "pydantic", "requests", "tenacity", "urllib3"},
    ),
    "stages": (
        {"errors", "files", "folders", "progress", "config", "data", "rollout", "training", "evaluation"}
        | {"distributed", "tracking", "report", "kube"},
        {"pydantic", "yaml"},
    ),
    "lens_components": ({"progress", "config", "data", "evaluation", "tracking", "kube", "stages"}, {"kfp"}),
    "lens_pipelines": ({"errors", "config", "kube", "lens_components"}, {"kfp"}),
    "kfp": (
        {"errors", "files", "folders", "processes", "progress", "config", "tracking", "kube", "stages"}
        | {"lens_pipelines"},
        {"google", "kfp", "kfp_server_api", "tenacity", "urllib3"},
    ),
    "cli": (
        {
            "errors",
            "credentials",
            "folders",
            "progress",
            "config",
            "data",
            "training",
            "evaluation",
            "distributed",
            "tracking",
            "report",
        }
        | {"kube", "processes", "signals", "stages", "kfp", "lens_pipelines"},
        {"packaging", "psutil", "pydantic_core", "requests", "rich", "torch", "typer", "yaml"},
    ),
}
DEFINITIONS = {"lens_pipelines.site", *(f"lens_pipelines.{name}_pipeline" for name in ("lens", "sweep", "evaluate"))}
"""Modules that are there to be compiled."""
LAZY = {"ray", "kfp", "kfp_server_api", "mlflow", "sqlalchemy", "vllm", "kubernetes", "requests"}
"""Imported inside the functions that use them."""


FOLDERS = {
    "lens_core": ROOT / "lens_core",
    "lens_components": ROOT / "components",
    "lens_pipelines": ROOT / "pipelines",
}
"""By import name: what is installed must not claim the names `components` and `pipelines`."""
FILES = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
    for package, folder in FOLDERS.items()
    for path in sorted(folder.rglob("*.py"))
}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "lens_core" else parts[0]


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at module level) of each import in a file; a module of ours that is imported by name is that module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in FILES else node.module, id(node) in top) for name in whole]
    return found


@pytest.mark.parametrize("module", sorted(FILES.keys() - FOLDERS.keys()))
def test_rooms_import_only_what_they_may(module: str) -> None:
    room = room_of(module)
    ours, theirs = ROOMS[room]
    for name, at_top in imports(FILES[module]):
        root = name.split(".")[0]
        if root in FOLDERS:
            assert room_of(name) in {*ours, room}, f"{module} must not import {name}"
        elif root not in sys.stdlib_module_names:
            assert root in theirs, f"{module} must not import {name}"
            defines_pipelines = room == "lens_components" or module in DEFINITIONS
            assert not (at_top and root in LAZY) or defines_pipelines, f"{module} must import {name} inside a function"


def test_no_module_and_no_room_imports_itself_by_a_detour() -> None:
    modules = {module: {name for name, _ in imports(path) if name in FILES} for module, path in FILES.items()}
    rooms: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in modules.keys() - FOLDERS.keys():
        rooms[room_of(module)] |= {room_of(name) for name in modules[module] - FOLDERS.keys()} - {room_of(module)}
    for graph in (modules, rooms):
        TopologicalSorter(graph).prepare()  # a CycleError names the circle
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_table_allows_no_more_than_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module in FILES.keys() - FOLDERS.keys():
        used[room_of(module)] |= {room_of(name) for name, _ in imports(FILES[module]) if name.split(".")[0] in FOLDERS}
    assert {room: ours - used[room] for room, (ours, _) in ROOMS.items() if ours - used[room]} == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lens_core.objective", {"trl", "transformers", "mlflow", "kfp", "ray", "pydantic"}),
        ("lens_core.cli.main", {"torch", "trl", "transformers", "mlflow", "kfp", "pydantic", "matplotlib"}),
        ("lens_core.stages", {"trl", "transformers", "mlflow", "kfp", "matplotlib"}),
        ("lens_core.stages.remote", {"trl", "transformers", "mlflow", "kubernetes", "ray", "matplotlib"}),
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
    assert {room for arrow in arrows for room in arrow} >= ROOMS.keys() - {
        "credentials",
        "errors",
        "files",
        "folders",
        "lookup",
        "processes",
        "signals",
        "progress",
        "recipes",
    }
    for source, target in arrows:
        assert target in ROOMS[source][0], f"{source} --> {target}"
