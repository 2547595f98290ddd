from pathlib import Path

import pytest

from lens_core.config import load_config, recipe_names
from lens_core.errors import LensError


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str) -> None:
    assert load_config(name).methods


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.group_size=1", r"train\.group_size: .*greater than or equal to 2 \(got 1\)"),
        ("methods.lens.alpha=-1", r"methods\.lens: alpha is -1"),
        ("methods.lens.alhpa=1", r"methods: lens has unknown keys \['alhpa'\]; choose from alpha"),
        ("methods.lens.variant=none", r"methods\.lens\.variant: .*'full'"),
        ("methods.base={}", r"'base' is no method name"),
        ("evaluation.ks=[1, 32]", r"evaluation: k = 32 exceeds n = 16"),
        ("evaluation.ks=[2, 1]", r"evaluation: ks \[2, 1\] must be rising"),
        ("train.stpes=5", r"train\.stpes: Extra inputs are not permitted"),
        ("train.learning_rate=fast", r"train\.learning_rate: .*\(got 'fast'\)"),
        ("train.micro_batch_size=3", r"train: micro_batch_size 3 must divide the 128 completions"),
        ("train.warmup_steps=1000", r"train: warmup_steps 1000 exceeds steps"),
        ("data.train={kind: gsm8k}", r"data\.train: a gsm8k source needs a path"),
        ("data.train={kind: ladder}", r"data\.train: a ladder source needs per_level"),
        ("data.train={kind: huggingface, path: x}", r"data\.train: a huggingface source needs columns"),
        ("train.steps", "must read key.path=value"),
        ("name.x=1", "name holds a value"),
        ("train.steps=[1", "no valid YAML"),
    ],
)
def test_bad_values_are_named_on_one_line(override: str, message: str) -> None:
    with pytest.raises(LensError, match=message) as caught:
        load_config("demo", [override])
    assert "\n" not in str(caught.value)


def test_overrides_reach_the_tree_and_change_the_digest() -> None:
    config = load_config("demo", ["train.learning_rate=1e-4", "methods.lens.negative_scale=1"])
    assert (config.train.learning_rate, config.methods["lens"].negative_scale) == (1e-4, 1.0)
    assert config.digest() != load_config("demo").digest() == load_config("demo").digest()


def test_files_are_read_and_what_is_neither_file_nor_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"nothing is neither a recipe \(demo.*\) nor a readable file"):
        load_config("nothing")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(LensError, match="must hold a mapping"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(LensError, match="no valid YAML"):
        load_config(tmp_path / "broken.yaml")
