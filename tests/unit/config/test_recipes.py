"""Every recipe that ships: valid, honest about itself, and true to the paper that it quotes."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core.baselines import ESTIMATORS
from lens_core.cli.main import app
from lens_core.config import load_config, recipe_names
from tests.helpers.recipes import STAGES, stages_of

PAPER = ["llama-3.1-8b-math-dapo", "llama-3.1-8b-math-numina", "qwen2.5-3b-math-dapo", "qwen2.5-3b-math-numina"]
recipes = pytest.mark.parametrize("name", recipe_names())


@recipes
def test_recipe_is_valid_and_says_what_it_needs_and_quotes(name: str) -> None:
    config = load_config(name)
    assert config.name == name
    assert config.about is not None
    assert all(config.about.model_dump().values())
    text = Path(f"lens_core/recipes/{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert re.search(r"\d{4}\.\d{5}|public code", config.about.source)


@recipes
def test_dry_run_prints_the_plan_and_touches_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(name)
    monkeypatch.chdir(tmp_path)
    for source in (*config.data.train, config.data.test):
        if source.path is not None and source.path.endswith(".jsonl"):  # files of one's own; others come from a hub
            path = tmp_path / source.path
            path.parent.mkdir(exist_ok=True)
            path.write_text('{"question": "What is 1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n', encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["train", "--recipe", name, "--method", next(iter(config.methods)), "--dry-run"])
    assert result.exit_code == 0, result.output
    for part in (f"name: {name}", "an update", "a batch of rollouts", "Memory of one process", "total"):
        assert part in result.output
    assert sorted(tmp_path.rglob("*")) == before


@recipes
def test_recipe_show_resolves_everything(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["recipe", "show", name])
    assert result.exit_code == 0
    (tmp_path / "resolved.yaml").write_text(result.output, encoding="utf-8")
    assert load_config(tmp_path / "resolved.yaml") == load_config(name)


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_are_the_papers_protocol(name: str) -> None:
    config = load_config(name)
    train = config.train
    assert train.learning_rate == (3e-7 if "llama" in name else 1e-6)
    assert (train.prompts_per_step, train.group_size, train.updates_per_batch) == (32, 16, 4)
    assert (train.clip, train.temperature, train.max_new_tokens, train.beta, train.steps) == (0.2, 1.0, 4096, 0.0, 1500)
    assert train.loss_type == "grpo"
    assert config.methods["lens"].parameters["alpha"] == 0.25
    assert (config.evaluation.n, config.evaluation.ks, config.evaluation.temperature) == (16, (1, 2, 4, 8, 16), 1.0)


@pytest.mark.parametrize(
    ("name", "reported"),
    [
        ("llama-3.1-8b-math-dapo", "54.09 / 61.09 / 67.05 / 69.29 / 72.70, LENS 56.63 / 63.05 / 68.36 / 72.18 / 75.34"),
        ("qwen2.5-3b-math-dapo", "67.06 / 72.86 / 77.12 / 80.83 / 82.67, LENS 68.59 / 74.79 / 79.33 / 82.62 / 84.44"),
        (
            "llama-3.1-8b-math-numina",
            "56.88 / 65.42 / 72.08 / 78.34 / 82.80, LENS 58.64 / 66.08 / 73.98 / 79.46 / 83.40",
        ),
        ("qwen2.5-3b-math-numina", "65.88 / 72.39 / 77.82 / 82.05 / 85.13, LENS 68.46 / 74.74 / 79.75 / 83.54 / 86.28"),
    ],
)
def test_paper_recipes_quote_the_papers_results(name: str, reported: str) -> None:
    about = load_config(name).about
    assert about is not None
    assert reported in about.reported


def test_rivals_has_every_objective_as_its_own_recipe_has_it() -> None:
    own = ("loss_type", "clip", "clip_high", "resample_groups", "resample_rounds", "max_grad_norm")
    for harness in (load_config("rivals"), load_config("ladder-full")):
        assert {method.objective for method in harness.methods.values()} == set(ESTIMATORS)
        assert harness.train.max_tokens == 270_000  # one budget for all
        for name in (*AUTHORS, "lens"):
            config = load_config(name)
            for value in own:
                assert getattr(config.train_for(name), value) == getattr(harness.train_for(name), value), (name, value)
            assert config.methods[name].resolved == harness.methods[name].resolved


# As read in the authors' code, or, where none is public, in the paper; each recipe names the files.
# name: (loss, clip, clip_high, groups replaced, updates a batch, warm-up, schedule, weight decay, gradient's norm)
CONSTANT = "constant_with_warmup"
AUTHORS = {
    "grpo": ("grpo", 0.2, None, None, 1, 8, CONSTANT, 0.0, 1.0),
    "dr-grpo": ("dr_grpo", 0.2, None, None, 8, 0, CONSTANT, 0.0, 1.0),
    "dapo": ("dapo", 0.2, 0.28, "equal", 16, 10, CONSTANT, 0.1, 1.0),
    "nsr": ("dapo", 0.2, None, None, 4, 0, CONSTANT, 0.01, 1.0),
    "w-reinforce": ("dapo", 0.2, None, None, 4, 0, CONSTANT, 0.01, 1.0),
    "ngrpo": ("dapo", 0.16, 0.24, "all_right", 4, 0, CONSTANT, 0.01, 1.0),
    "max-rl": ("dapo", 0.2, None, None, 1, 0, CONSTANT, 0.01, 0.3),
    "pass-at-k": ("dapo", 0.2, 0.28, None, 4, 10, CONSTANT, 0.0, 1.0),
    "rl-zvp": ("dapo", 0.2, 0.28, None, 16, 4, "cosine", 0.0, 1.0),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_recipes_of_rivals_have_their_authors_values(name: str) -> None:
    train = load_config(name).train_for(name)
    groups = train.resample_groups if train.resample_rounds else None
    found = (train.loss_type, train.clip, train.clip_high, groups, train.updates_per_batch)
    protocol = (train.warmup_steps, train.schedule, train.weight_decay, train.max_grad_norm)
    assert (*found, *protocol) == AUTHORS[name]
    text = Path(f"lens_core/recipes/{name}.yaml").read_text(encoding="utf-8")
    assert "Authors' code:" in text or "code of the authors is public" in text


@pytest.mark.parametrize("name", PAPER)
def test_paper_recipes_mix_and_decontaminate_what_the_paper_does(name: str) -> None:
    data = load_config(name).data
    math, other = data.train
    assert (math.kind, math.split, math.limit) == ("math", "train", 7500)
    assert (other.kind, other.limit) == (("dapo", 17_500) if name.endswith("dapo") else ("numina", None))
    assert data.test is not None
    assert (data.test.kind, data.test.path) == ("math", "HuggingFaceH4/MATH-500")
    assert [(source.path, source.split) for source in data.decontamination.against] == [(math.path, "test")]
    assert load_config(name).train.prompt == load_config(name).evaluation.prompt


def test_table_of_stages_says_what_the_tests_run() -> None:
    text = Path("docs/recipes.md").read_text(encoding="utf-8")
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    start = next(index for index, row in enumerate(rows) if row[1] == STAGES[0])
    assert tuple(rows[start][1:]) == STAGES
    said = {
        name.strip("`"): {stage for stage, cell in zip(STAGES, cells, strict=True) if cell}
        for name, *cells in rows[start + 2 :]
    }
    assert said == {recipe: stages_of(recipe) for recipe in recipe_names()}
