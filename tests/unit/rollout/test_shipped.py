"""Policies that the package ships, by name."""

from pathlib import Path

import pytest

from lens_core.config import load_config
from lens_core.rollout.engine import load_policy, load_tokenizer
from lens_core.rollout.fingerprint import identity
from lens_core.rollout.shipped import resolved
from lens_core.stages.plan import plan_training


def test_shipped_name_is_a_model_wherever_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = resolved("ladder-base")
    assert (Path(folder) / "config.json").is_file()
    assert identity("ladder-base") == identity(folder)
    model, tokenizer = load_policy("ladder-base")
    assert model.config.vocab_size >= len(load_tokenizer("ladder-base")) == len(tokenizer)
    assert (
        "weights"
        in plan_training(load_config("demo"), "lens", Path("ladder-base"))["Memory of one process, GiB, an estimate"]
    )


def test_folder_of_that_name_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ladder-base").mkdir()
    assert resolved("ladder-base") == "ladder-base"
    assert resolved("some/model") == "some/model"
