from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lens_core.config import Method, PromptConfig, RunConfig, load_config, overridden, recipe_names
from lens_core.errors import LensError
from lens_core.objective import LensConfig


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid(name: str) -> None:
    assert load_config(name).methods


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.group_size=1", r"train\.group_size: .*greater than or equal to 2 \(got 1\)"),
        ("methods.lens.alpha=-1", r"methods\.lens: alpha is -1"),
        (
            "methods.lens.alhpa=1",
            r"methods\.lens: unknown parameters \['alhpa'\]; .*; did you mean alpha\?",
        ),
        ("methods.lens.variant=none", r"methods\.lens: variant is 'none'; choose one of full"),
        ("methods.lens.objective=lense", r"methods\.lens: 'lense' is no objective; choose from lens, grpo"),
        ("methods.lens.train={clip: 2}", r"configuration: methods\.lens\.train: clip: .*less than 1"),
        ("methods.lens.train={stpes: 2}", r"methods\.lens\.train: stpes: there is no such key; did you mean steps\?"),
        ("train.vllm={mode: server}", r"train\.vllm: server_url belongs to mode 'server'"),
        ("methods.base={}", r"'base' is no method name"),
        ("evaluation.ks=[1, 32]", r"evaluation: k = 32 exceeds n = 16"),
        ("evaluation.ks=[2, 1]", r"evaluation: ks \[2, 1\] must be rising"),
        ("train.stpes=5", r"^train\.stpes: there is no such key; did you mean train\.steps\?$"),
        ("train.learning_rate=fast", r"train\.learning_rate: .*\(got 'fast'\)"),
        ("train.micro_batch_size=3", r"train: micro_batch_size 3 must divide the 128 completions"),
        (
            "train.warmup_steps=1000",
            r"train: warmup_steps 1000 exceeds steps 80: lower train\.warmup_steps too",
        ),
        ("data.train={kind: gsm8k}", r"^data\.train: a gsm8k source needs a path"),
        ("data.train={kind: ladder}", r"^data\.train: a ladder source needs per_level"),
        ("data.train={kind: huggingface, path: x}", r"^data\.train: a huggingface source needs columns"),
        ("steps=5", r"^steps: there is no such key; did you mean train\.steps\?$"),
        ("data.train=[]", r"^data\.train: must have at least 1 of them$"),
        (
            "data.train={kind: ladder, per_levle: 3}",
            r"; did you mean data\.train\.per_level\?",
        ),
        ("train.steps=many", r"^train\.steps: must be a whole number \(got 'many'\)$"),
        ("train.loss_type=dppo", r"^train\.loss_type: must be 'grpo', 'bnpo', 'dr_grpo' or 'dapo' \(got 'dppo'\)$"),
        ("methods.lens.objective=lense", r"; did you mean lens\?"),
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
    assert (config.train.learning_rate, config.methods["lens"].parameters) == (1e-4, {"negative_scale": 1})
    assert config.digest() != load_config("demo").digest() == load_config("demo").digest()


def test_files_are_read_and_what_is_neither_file_nor_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"nothing is neither a recipe \(.*demo.*\) nor a readable file"):
        load_config("nothing")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(LensError, match="must hold a mapping"):
        load_config(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(LensError, match="no valid YAML"):
        load_config(tmp_path / "broken.yaml")


def test_checkpoints_come_with_lines_of_metrics() -> None:
    with pytest.raises(LensError, match="checkpoint_every 15 must be a multiple of log_every 10"):
        load_config("demo", ["train.log_every=10", "train.checkpoint_every=15"])


def test_method_changes_the_training_for_itself_alone() -> None:
    config = load_config("demo", ['methods={"a": {"objective": "dapo", "train": {"clip_high": 0.28}}, "b": {}}'])
    assert (config.train_for("a").clip_high, config.train_for("b").clip_high) == (0.28, None)
    assert config.train_for("b") == config.train
    assert config.methods["b"].objective == "lens"


def test_file_that_extends_another_replaces_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text(
        "extends: demo\nname: child\ntrain: {steps: 7, warmup_steps: 0}\nmethods: {a: {}}\n"
    )
    child, parent = load_config(tmp_path / "child.yaml"), load_config("demo")
    assert (child.name, child.train.steps, list(child.methods)) == ("child", 7, ["a"])
    assert child.train.learning_rate == parent.train.learning_rate
    assert child.data == parent.data


def test_file_that_extends_another_replaces_a_data_source_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "child.yaml"
    path.write_text("extends: demo\ndata: {train: {kind: gsm8k, path: a.jsonl}, test: {per_level: 7}}\n")
    data = load_config(path).data
    assert (data.train[0].kind, data.train[0].per_level, data.train[0].seed) == ("gsm8k", None, 0)  # the demo's: 400, 1
    assert data.test is not None
    assert (data.test.kind, data.test.per_level, data.test.seed) == ("ladder", 7, 2)


def test_evaluation_asks_as_the_training_does_unless_it_says_otherwise() -> None:
    config = load_config("demo", ["train.prompt.instruction=Box it."])
    assert config.evaluation.prompt == config.train.prompt == PromptConfig(instruction="Box it.")
    other = load_config("demo", ["train.prompt.instruction=Box it.", "evaluation.prompt.form=plain"])
    assert other.evaluation.prompt == PromptConfig(form="plain")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train={kind: math, path: x, columns: {prompt: q, answer: a}}", "columns belong to huggingface sources"),
        ("data.train={kind: ladder, per_level: 1, split: test}", "split and subset belong to data sets"),
        ("data.pass_rate={path: x, low: 0.9, high: 0.1}", r"low 0\.9 exceeds high 0\.1"),
        ("data.decontamination.near=0.2", r"data\.decontamination\.near: .*0\.5"),
        ("data.format=xml", r"data\.format: .*'jsonl' or 'parquet'"),
    ],
)
def test_data_section_that_does_not_fit_is_named(override: str, message: str) -> None:
    with pytest.raises(LensError, match=message):
        load_config("demo", [override])


def test_method_over_seeds_differs_in_the_seed_alone() -> None:
    config = load_config("ladder-sweep", ["methods.lens.train={learning_rate: 0.002}", "methods.lens.alpha=0.5"])
    seeded = config.over_seeds("lens", [3, 4])
    assert list(seeded.methods) == ["lens-s3", "lens-s4"]
    assert seeded.sweep is None
    for name, seed in (("lens-s3", 3), ("lens-s4", 4)):
        assert seeded.methods[name].parameters == {"alpha": 0.5}
        assert seeded.train_for(name) == config.train_for("lens").model_copy(update={"seed": seed})


def test_method_resolves_to_all_parameters_of_its_objective() -> None:
    methods = load_config(
        "demo", ["methods={a: {objective: nsr, positive_weight: 0.1}, b: {objective: dr_grpo}, c: {alpha: 1}}"]
    ).methods
    assert methods["a"].parameters == {"positive_weight": 0.1}
    assert methods["a"].resolved == {"positive_weight": 0.1, "success_threshold": 0.0}
    assert methods["b"].resolved == {}
    assert methods["c"].resolved == asdict(LensConfig(alpha=1))


def own_objective(rewards: Any, confidences: Any, entropies: Any, scale: float = 2.0, *, needed: float) -> Any:
    return rewards * scale * needed


def test_method_resolves_the_defaults_of_a_function_of_your_own() -> None:
    own = Method(objective="tests.unit.config.test_run:own_objective", needed=1.0)  # type: ignore[call-arg]
    assert own.resolved == {"scale": 2.0, "needed": 1.0}
    with pytest.raises(ValueError, match=r"unknown parameters \['more'\]; choose from scale, needed"):
        Method(objective="tests.unit.config.test_run:own_objective", needed=1.0, more=2).check()  # type: ignore[call-arg]


def test_override_of_a_saved_configuration_means_what_it_means_for_a_recipe() -> None:
    overrides = ["data.train.per_level=4", "train.seed=3"]
    saved = RunConfig.model_validate_json(load_config("demo").model_dump_json())
    assert overridden(saved, overrides) == load_config("demo", overrides)
