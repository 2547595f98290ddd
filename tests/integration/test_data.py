"""Data folders on their way through the stages: pass rates, prompt lengths, Parquet, the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core import stages
from lens_core.cli.main import app
from lens_core.config import RunConfig, load_config
from lens_core.data.prepare import read_problems
from lens_core.data.summary import read_summary
from lens_core.errors import LensError

pytestmark = pytest.mark.integration

SMALL = [
    "data.train={kind: ladder, per_level: 4, seed: 1}",
    "data.test={kind: ladder, per_level: 2, seed: 2}",
    "train.steps=1",
    "train.prompts_per_step=2",
    "train.group_size=2",
    "train.max_new_tokens=8",
    "train.warmup_steps=0",
    "evaluation.n=2",
    "evaluation.ks=[1]",
    "evaluation.max_new_tokens=8",
]


def small(*overrides: str) -> RunConfig:
    return load_config("demo", [*SMALL, *overrides])


def test_pass_rates_of_the_training_problems_choose_them(base: Path, tmp_path: Path) -> None:
    pool = stages.prepare(small(), tmp_path / "pool")
    rates = stages.pass_rates(small(), pool, base, tmp_path / "rates")
    answered = [json.loads(line) for line in (rates / "rollouts.jsonl").read_text().splitlines()]
    assert [row["prompt"] for row in answered] == [p.prompt for p in read_problems(pool / "train.jsonl")]
    # An untrained policy answers nothing rightly: all are too hard for a rate above 0, and none for one of 0.
    choice = f"data.pass_rate={{path: {rates}, high: 0}}"
    kept = read_summary(stages.prepare(small(choice), tmp_path / "kept"))
    assert kept.train == len(answered)
    with pytest.raises(LensError, match="no training problem is left"):
        stages.prepare(small(f"data.pass_rate={{path: {rates}, low: 0.1}}"), tmp_path / "none")


def test_training_and_evaluation_read_parquet(base: Path, tmp_path: Path) -> None:
    config = small("data.format=parquet", "data.validation=2")
    data = stages.prepare(config, tmp_path / "data")
    assert not list(data.glob("*.jsonl"))
    stages.train(config, "grpo", data, base, tmp_path / "policy")
    stages.evaluate(config, "grpo", data, tmp_path / "policy", tmp_path / "evaluation")
    report = json.loads((tmp_path / "evaluation" / "passk.json").read_text())
    assert report["problems"] == 10
    assert report["data_digest"] == read_summary(data).test_digest


def test_prompt_length_is_counted_by_the_tokenizer_of_the_base(base: Path, tmp_path: Path) -> None:
    # Tokens are characters: "Compute 47+8." and the line end are 14; level 5's prompts have 20 and more.
    everything = read_summary(stages.prepare(small(), tmp_path / "all"))
    config = small("data.max_prompt_tokens=15", f"base={base}")
    short = read_summary(stages.prepare(config, tmp_path / "short"))
    assert short.train + short.left_out["prompt of more than 15 tokens"] == everything.train
    assert "5" not in short.train_levels
    assert all(len(problem.prompt) < 15 for problem in read_problems(tmp_path / "short" / "train.jsonl"))
    shipped = small("data.max_prompt_tokens=15")
    assert read_summary(stages.prepare(shipped, tmp_path / "shipped")).train_digest == short.train_digest


def test_commands_prepare_and_rate(base: Path, tmp_path: Path) -> None:
    overrides = [part for override in SMALL for part in ("-s", override)]
    done = CliRunner().invoke(app, ["data", "prepare", "-o", str(tmp_path / "data"), *overrides])
    assert done.exit_code == 0, done.output
    assert "100/100  20 problems to train on, 10 to test" in done.output
    assert (tmp_path / "data" / "data_card.html").exists()
    arguments = [
        "data",
        "pass-rates",
        str(base),
        "-c",
        "demo",
        "--data",
        str(tmp_path / "data"),
        "-o",
        str(tmp_path / "rates"),
    ]
    done = CliRunner().invoke(app, [*arguments, "-n", "1", *overrides])
    assert done.exit_code == 0, done.output
    assert len((tmp_path / "rates" / "rollouts.jsonl").read_text().splitlines()) == 20
