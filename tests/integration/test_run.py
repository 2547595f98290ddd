"""Whole trainings from files to files: fine-tuning modes, every objective, resumption, several processes."""

import json
import logging
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load_file

from lens_core import stages
from lens_core.baselines import ESTIMATORS
from lens_core.config import RunConfig, load_config
from lens_core.errors import LensError
from lens_core.progress import Progress
from lens_core.rollout.engine import load_policy
from lens_core.tracking import Tracking
from lens_core.training.metrics_file import read_metrics

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "base=tiny",
    "train.steps=3",
    "train.prompts_per_step=2",
    "train.group_size=4",
    "train.max_new_tokens=8",
    "train.warmup_steps=0",
    "train.learning_rate=1e-3",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stages.prepare(small(), tmp_path_factory.mktemp("data"))


def small(*overrides: str) -> RunConfig:
    return load_config("demo", [*SMALL, *overrides])


def train(config: RunConfig, data: Path, base: Path, output: Path, method: str = "grpo", **kwargs: Any) -> Path:
    return stages.train(config, method, data, base, output, **kwargs)


NSR = 'methods={"grpo": {"objective": "nsr"}}'  # moves the weights whatever the answers are


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.lora={rank: 4}"],
        ["train.gradient_checkpointing=true"],
        ["train.bf16=true"],
        ["train.bf16=true", "train.lora={rank: 4}", "train.gradient_checkpointing=true"],
        ["train.updates_per_batch=3", "train.micro_batch_size=4"],
        ["train.loss_type=dapo", "train.clip_high=0.28", "train.mask_truncated=true", "train.max_new_tokens=32"],
    ],
    ids=["lora", "checkpointing", "bf16", "bf16 lora checkpointing", "off policy", "dapo"],
)
def test_modes_of_training_end_with_a_whole_policy(
    tmp_path: Path, data: Path, base: Path, overrides: list[str]
) -> None:
    output = train(small(NSR, *overrides), data, base, tmp_path / "policy")
    before, after = load_file(base / "model.safetensors"), load_file(output / "model.safetensors")
    assert before.keys() == after.keys()
    assert not (output / "adapter_config.json").exists()
    assert any((before[name].float() - after[name].float()).abs().max() > 1e-5 for name in before)
    policy, _ = load_policy(output)
    assert all(value.isfinite().all() for value in policy.state_dict().values())
    assert [step["step"] for step in read_metrics(output)] == [1, 2, 3]


@pytest.mark.parametrize("objective", sorted(ESTIMATORS))
def test_every_objective_trains(tmp_path: Path, data: Path, base: Path, objective: str) -> None:
    config = small(f'methods={{"one": {{"objective": "{objective}"}}}}', "train.steps=2")
    output = train(config, data, base, tmp_path / "policy", "one")
    moved = [
        not torch.equal(one, other)
        for one, other in zip(
            load_file(base / "model.safetensors").values(),
            load_file(output / "model.safetensors").values(),
            strict=True,
        )
    ]
    # An untrained policy is never right: only these learn from such groups.
    assert any(moved) is (objective in ("lens", "nsr", "ngrpo", "rl_zvp"))


def test_objective_of_ones_own_is_given_by_import_path(tmp_path: Path, data: Path, base: Path) -> None:
    config = small('methods={"mine": {"objective": "tests.helpers.fakes:constant_objective", "value": -0.5}}')
    output = train(config, data, base, tmp_path / "policy", "mine")
    assert read_metrics(output)[-1]["lens/advantage_rms/negative"] == pytest.approx(0.5)


def test_weights_are_trained_in_float32_whatever_they_are_stored_in(tmp_path: Path, data: Path, base: Path) -> None:
    model, tokenizer = load_policy(base)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    tokenizer.save_pretrained(tmp_path / "half")
    output = train(small(NSR, "train.learning_rate=1e-6"), data, tmp_path / "half", tmp_path / "policy")
    before, after = load_file(tmp_path / "half/model.safetensors"), load_file(output / "model.safetensors")
    # An update of 1e-6 is far below what bfloat16 can tell apart.
    assert any((before[name].float() - after[name].float()).abs().max() > 0 for name in before)


def test_folder_with_checkpoints_is_not_trained_into_by_accident(tmp_path: Path, data: Path, base: Path) -> None:
    config = small("train.checkpoint_every=1")
    output = train(config, data, base, tmp_path / "policy")
    with pytest.raises(LensError, match="holds checkpoints of an earlier training: add --resume"):
        train(config, data, base, output)
    with pytest.raises(LensError, match=r"was begun with train\.learning_rate 0\.001, now 0\.002: go on with"):
        train(small("train.checkpoint_every=1", "train.learning_rate=2e-3"), data, base, output, resume=True)
    metrics = (output / "metrics.jsonl").read_text()
    train(config, data, base, output, resume=True)  # it has ended: nothing to do
    assert (output / "metrics.jsonl").read_text() == metrics


def test_policys_folder_holds_no_pickle_and_no_card_of_trls(tmp_path: Path, data: Path, base: Path) -> None:
    output = train(small("train.checkpoint_every=2"), data, base, tmp_path / "policy")
    assert not {path.name for path in output.iterdir()} & {"README.md", "training_args.bin"}


def test_tied_weights_are_not_missed_in_a_checkpoint(
    tmp_path: Path, data: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every = "train.checkpoint_every=1"
    output = train(small(every, "train.steps=1"), data, base, tmp_path / "policy")
    logging.getLogger("transformers").addHandler(caplog.handler)
    try:
        train(small(every), data, base, output, resume=True)
    finally:
        logging.getLogger("transformers").removeHandler(caplog.handler)
    assert "missing keys" not in caplog.text
    policy, _ = load_policy(output)
    assert policy.lm_head.weight is policy.model.embed_tokens.weight


def test_base_of_a_folder_shares_its_weights(tmp_path: Path, base: Path) -> None:
    copy = stages.base(load_config("demo", [f"base={base}"]), tmp_path / "base")
    weights = copy / "model.safetensors"
    assert weights.samefile(base / "model.safetensors")
    assert stages.base(load_config("demo", [f"base={copy}"]), copy) == copy  # of itself
    assert weights.samefile(base / "model.safetensors")
    (again, tokenizer), (first, _) = load_policy(copy), load_policy(base)
    assert tokenizer.get_vocab() == load_policy(base)[1].get_vocab()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), first.parameters(), strict=True))


def test_finished_training_goes_on_to_more_steps_as_if_never_ended(tmp_path: Path, data: Path, base: Path) -> None:
    every = "train.checkpoint_every=1"
    longer = small(every, "train.steps=4")
    whole = train(longer, data, base, tmp_path / "whole")
    output = train(small(every, "train.steps=2"), data, base, tmp_path / "policy")
    free = ("train.keep_checkpoints=5", "train.max_failures=0", "train.max_skipped_steps=9")
    train(small(every, "train.steps=4", *free), data, base, output, resume=True)
    assert [step["reward"] for step in read_metrics(output)] == [step["reward"] for step in read_metrics(whole)]
    found, expected = (load_file(folder / "model.safetensors") for folder in (output, whole))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert json.loads((output / "training.json").read_text())["steps"] == 4


def test_more_steps_are_other_values_where_they_decide_the_learning_rate(
    tmp_path: Path, data: Path, base: Path
) -> None:
    falling = ("train.checkpoint_every=1", "train.schedule=linear")
    output = train(small(*falling, "train.steps=2"), data, base, tmp_path / "policy")
    with pytest.raises(LensError, match=r"was begun with train\.steps 2, now 4"):
        train(small(*falling, "train.steps=4"), data, base, output, resume=True)


def test_finished_training_without_checkpoints_cannot_go_on(tmp_path: Path, data: Path, base: Path) -> None:
    output = train(small("train.steps=2"), data, base, tmp_path / "policy")
    with pytest.raises(LensError, match="holds a finished training without checkpoints"):
        train(small("train.steps=4"), data, base, output, resume=True)


def test_run_of_an_older_release_lacks_new_values_and_goes_on(tmp_path: Path, data: Path, base: Path) -> None:
    config = small("train.checkpoint_every=1")
    output = train(config, data, base, tmp_path / "policy")
    run = json.loads((output / "run.json").read_text())
    del run["design"]["train"]["clip_high"]  # as if that had come with a later release, with None as its default
    (output / "run.json").write_text(json.dumps(run))
    train(config, data, base, output, resume=True)


@pytest.fixture(scope="module")
def trained(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with a checkpoint after each of its three steps; tests copy it."""
    return train(small(NSR, "train.checkpoint_every=1"), data, base, tmp_path_factory.mktemp("trained") / "policy")


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl"])
@pytest.mark.parametrize("text", ["", '{"design": {"base"', "[]"])
def test_damaged_file_is_named_before_any_work(
    name: str, text: str, trained: Path, tmp_path: Path, data: Path, base: Path
) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    (output / "training.json").unlink()  # as if interrupted
    (output / name).write_text(text + "\n" if name == "metrics.jsonl" else text)
    before = contents(output)
    with pytest.raises(LensError, match=rf"{re.escape(name)}(:1)? is damaged") as caught:
        train(small(NSR, "train.checkpoint_every=1"), data, base, output, resume=True)
    assert "\n" not in str(caught.value)
    assert contents(output) == before


def test_damaged_validations_of_checkpoints_are_named(trained: Path, tmp_path: Path, data: Path, base: Path) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    (output / "checkpoints.jsonl").write_text('{"step": 3}\n[]\n{"st')
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", "r")
    with pytest.raises(LensError, match=r"checkpoints\.jsonl:2 is damaged"):
        train(small(NSR, "train.checkpoint_every=1"), data, base, output, resume=True, tracking=tracking)


def test_training_without_a_metric_says_so(trained: Path, tmp_path: Path, data: Path, base: Path) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    (output / "training.json").unlink()
    (output / "metrics.jsonl").write_text("")  # its last checkpoint is that of the last step
    with pytest.raises(LensError, match=r"metrics\.jsonl holds no step"):
        train(small(NSR, "train.checkpoint_every=1"), data, base, output, resume=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoints_of_somebody_else_are_neither_used_nor_removed(
    resume: bool, trained: Path, tmp_path: Path, data: Path, base: Path
) -> None:
    """No run.json says that they are ours."""
    output = tmp_path / "theirs"
    for name in ("checkpoint-2", "checkpoint-3"):
        shutil.copytree(trained / name, output / name)
    before = contents(output)
    with pytest.raises(LensError, match=r"theirs is not empty, and does not hold a training"):
        train(small("train.keep_checkpoints=1"), data, base, output, resume=resume)
    assert contents(output) == before


def test_training_whose_run_file_is_gone_is_not_taken_for_another(
    trained: Path, tmp_path: Path, data: Path, base: Path
) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    (output / "run.json").rename(output / ".training.lock")  # ours, as a kill leaves it
    with pytest.raises(LensError, match=r"holds a training, but not run\.json, which says which"):
        train(small(NSR, "train.checkpoint_every=1"), data, base, output, "grpo", resume=True)


def test_finished_training_is_not_overwritten(tmp_path: Path, data: Path, base: Path) -> None:
    output = train(small("train.steps=1", "train.checkpoint_every=null"), data, base, tmp_path / "policy")
    before = contents(output)
    with pytest.raises(LensError, match=r"holds a finished training: add --resume to go on with it, or choose"):
        train(small(NSR, "train.steps=1"), data, base, output)
    assert contents(output) == before


HARM: dict[str, Callable[[Path], object]] = {
    "no lens_state.json": lambda checkpoint: (checkpoint / "lens_state.json").unlink(),
    "weights cut short": lambda checkpoint: os.truncate(checkpoint / "model.safetensors", 5000),
    "empty optimiser": lambda checkpoint: os.truncate(checkpoint / "optimizer.pt", 0),
    "no trainer_state.json": lambda checkpoint: (checkpoint / "trainer_state.json").unlink(),
    "nothing": lambda checkpoint: [each.unlink() for each in checkpoint.iterdir()],
}


@pytest.mark.parametrize("harm", HARM)
def test_training_goes_on_from_the_newest_whole_checkpoint(
    harm: str, trained: Path, tmp_path: Path, data: Path, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    for name in ("training.json", "model.safetensors"):
        (output / name).unlink()
    HARM[harm](output / "checkpoint-3")
    train(small(NSR, "train.checkpoint_every=1", "train.keep_checkpoints=1"), data, base, output, resume=True)
    assert "checkpoint-3 is not whole" in caplog.text
    assert "training goes on from checkpoint-2" in caplog.text
    assert (output / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    assert {each.name for each in output.glob("*checkpoint-*")} == {"checkpoint-3", "damaged-checkpoint-3"}


def test_answers_that_were_still_to_be_trained_on_are_not_silently_dropped(
    tmp_path: Path, data: Path, base: Path
) -> None:
    config = small(NSR, "train.checkpoint_every=1", "train.keep_checkpoints=3", "train.updates_per_batch=3")
    whole = train(config, data, base, tmp_path / "whole")
    output = shutil.copytree(whole, tmp_path / "policy")
    for name in ("training.json", "model.safetensors", "checkpoint-2/rollouts.safetensors"):
        (output / name).unlink()
    shutil.rmtree(output / "checkpoint-3")
    train(config, data, base, output, resume=True)  # from the first step's
    assert (output / "damaged-checkpoint-2").is_dir()
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_training_without_a_whole_checkpoint_does_not_begin_again_unasked(
    trained: Path, tmp_path: Path, data: Path, base: Path
) -> None:
    output = shutil.copytree(trained, tmp_path / "policy")
    (output / "training.json").unlink()
    for checkpoint in output.glob("checkpoint-*"):
        (checkpoint / "lens_state.json").unlink()
    before = contents(output)
    for _ in range(2):
        with pytest.raises(LensError, match=r"no checkpoint in .* is whole \(checkpoint-3: .*lens_state\.json is miss"):
            train(small(NSR, "train.checkpoint_every=1"), data, base, output, resume=True)
    assert contents(output) == before


def test_resuming_where_nothing_is_starts(tmp_path: Path, data: Path, base: Path) -> None:
    output = train(small(), data, base, tmp_path / "policy", resume=True)
    assert len(read_metrics(output)) == 3


def test_lora_resumes_bit_for_bit(tmp_path: Path, data: Path, base: Path) -> None:
    config = small(NSR, "train.lora={rank: 4}", "train.checkpoint_every=1")
    whole = train(config, data, base, tmp_path / "whole")
    killed = train(config, data, base, tmp_path / "killed")
    for path in [killed / "training.json", *(killed / "checkpoint-3").iterdir()]:
        path.unlink()
    (killed / "checkpoint-3").rmdir()
    train(config, data, base, killed, resume=True)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("end", ["train.steps=3", "train.max_tokens=30"])
def test_training_that_had_reached_its_end_takes_no_further_step(
    end: str, tmp_path: Path, data: Path, base: Path
) -> None:
    config = small(NSR, "train.checkpoint_every=1", end)
    whole = train(config, data, base, tmp_path / "policy")
    last, weights = read_metrics(whole)[-1]["step"], (whole / "model.safetensors").read_bytes()
    for file in ("training.json", "model.safetensors"):  # as a kill after the last checkpoint leaves it
        (whole / file).unlink()
    train(config, data, base, whole, resume=True)
    assert read_metrics(whole)[-1]["step"] == last
    assert (whole / "model.safetensors").read_bytes() == weights


@pytest.mark.long
def test_two_processes_train_one_policy_from_the_command_line(tmp_path: Path, data: Path, base: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    lens = [
        "-m",
        "lens_core.cli",
        "train",
        "-c",
        "demo",
        "--data",
        data,
        "--base",
        base,
        "-m",
        "grpo",
        "-o",
        tmp_path / "policy",
    ]
    settings = [argument for override in [*SMALL, NSR] for argument in ("-s", override)]
    result = subprocess.run(
        [*map(str, [*launch, *lens, *settings, "--home", tmp_path / "home"])],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert [step["step"] for step in read_metrics(tmp_path / "policy")] == [1, 2, 3]
    assert json.loads((tmp_path / "policy/training.json").read_text())["steps"] == 3


def test_progress_says_what_a_training_does_and_how_far_it_is(tmp_path: Path, data: Path, base: Path) -> None:
    seen: list[Progress] = []
    config = small("train.steps=50", "train.max_tokens=150")  # at most 64 tokens a step
    output = train(config, data, base, tmp_path / "policy", on_progress=seen.append)
    assert seen[0] == Progress("train grpo", 0, 50, "")
    said = r"reward \d\.\d\d, negative groups \d+%, \d+\.\d\d s/step, [\d,]+ tokens/s"
    assert all(re.fullmatch(said, progress.text) for progress in seen[1:])
    first = read_metrics(output)[0]["lens/tokens/generated"]
    assert seen[1].total == math.ceil(150 / first) < 50
    assert seen[-1].done == seen[-1].total == len(seen) - 1


@pytest.mark.parametrize("name", ["fsdp2", "deepspeed-zero2", "deepspeed-zero3"])
def test_accelerate_accepts_the_configurations_that_we_ship(name: str) -> None:
    config = load_config_from_file(str(ROOT / f"lens_core/recipes/accelerate/{name}.yaml"))
    assert config.num_processes == 8
    if name == "fsdp2":
        assert config.fsdp_config["fsdp_version"] == 2
    else:
        assert config.deepspeed_config["zero_stage"] == int(name[-1])


def test_sharding_over_one_process_is_refused_on_one_line(data: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(LensError, match=r"^train\.fsdp shards a policy over several GPUs: train with --workers 2"):
        train(small("train.fsdp=true"), data, base, tmp_path / "policy")


def test_last_step_is_logged_whatever_the_interval(tmp_path: Path, data: Path, base: Path) -> None:
    output = train(small("train.steps=5", "train.log_every=3"), data, base, tmp_path / "policy")
    assert [step["step"] for step in read_metrics(output)] == [3, 5]
