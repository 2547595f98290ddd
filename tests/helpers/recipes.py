"""The stages that tests take each recipe through in miniature, as the table in docs/recipes.md has them."""

from lens_core.config import load_config

PAPERS = ("llama-3.1-8b-math-dapo", "qwen2.5-3b-math-numina")
"""Both models of the paper, and both mixtures of data."""
STAGES = (
    "prepare",
    "train",
    "kill, resume",
    "evaluate",
    "compare",
    "register, card",
    "study",
    "sweep",
    "2 ranks, DDP",
    "2 ranks, FSDP2",
    "pipeline",
    "RayJob",
)


def stages_of(recipe: str) -> set[str]:
    config = load_config(recipe)
    found = set(STAGES[:6])
    found |= {"study"} if config.study is not None else set()
    found |= {"sweep"} if config.sweep is not None else set()
    return found | (set(STAGES[8:]) if recipe in PAPERS else set())
