"""Whose a folder is: what it was begun with, value by value."""

import json
from pathlib import Path

import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.stages.folder import DESIGN_FILE, TRAINING_FILE, TrainingDesign, claim, read_training


def test_folder_is_claimed_again_by_the_same_configuration(tmp_path: Path) -> None:
    for _ in range(2):
        claim(load_config("ladder-quick"), tmp_path)


def test_values_that_change_no_result_may_change(tmp_path: Path) -> None:
    claim(load_config("ladder-quick"), tmp_path)
    claim(load_config("ladder-quick", ["train.keep_checkpoints=7", "about=null"]), tmp_path)
    claim(load_config("ladder-quick", ["study.seeds=[0, 1, 2, 3, 4, 5, 6, 7, 8]"]), tmp_path, ["study.seeds"])


def test_values_that_differ_are_named_as_they_were_and_as_they_are(tmp_path: Path) -> None:
    claim(load_config("ladder-quick", ["train.clip=0.2"]), tmp_path)
    with pytest.raises(LensError, match=r"was begun with train\.clip 0\.2, now 0\.3: go on with the values of before"):
        claim(load_config("ladder-quick", ["train.clip=0.3"]), tmp_path)


def test_a_few_of_many_differences_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    claim(load_config("ladder-quick"), tmp_path)
    values = {"temperature": 2, "max_grad_norm": 2, "learning_rate": 1, "adam_beta2": 0.5, "seed": 1, "weight_decay": 1}
    with pytest.raises(LensError, match=r"\w; .*; .*; .* and 2 more: go on"):
        claim(load_config("ladder-quick", [f"train.{name}={value}" for name, value in values.items()]), tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"config": null}', '{"config": {"name": "x"}}'])
def test_design_that_is_none_is_one_line_that_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / DESIGN_FILE).write_text(text)
    with pytest.raises(LensError, match=r"design\.json") as caught:
        claim(load_config("ladder-quick"), tmp_path)
    assert "\n" not in str(caught.value)


def test_more_steps_may_come_where_the_learning_rate_does_not_depend_on_them() -> None:
    config = load_config("demo")
    for schedule, may in (("constant_with_warmup", True), ("linear", False), ("cosine", False)):
        train = config.train.model_copy(update={"schedule": schedule})
        design = TrainingDesign(base="b", method=config.methods["lens"], train=train, data_sha256="0")
        assert ("train.steps" in design.may_change()) == may


def test_design_of_an_older_release_lacks_what_is_new(tmp_path: Path) -> None:
    claim(load_config("ladder-quick"), tmp_path)
    held = json.loads((tmp_path / DESIGN_FILE).read_text())
    del held["config"]["train"]["economy"]["share_prompts"]
    (tmp_path / DESIGN_FILE).write_text(json.dumps(held))
    claim(load_config("ladder-quick"), tmp_path)


@pytest.mark.parametrize("text", ["", '{"method": "lens"', "{}", "null"])
def test_damaged_summary_of_a_training_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING_FILE).write_text(text)
    with pytest.raises(LensError, match=r"training\.json is damaged") as caught:
        read_training(tmp_path)
    assert "\n" not in str(caught.value)
