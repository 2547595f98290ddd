from pathlib import Path

import pytest

from lens_core.config import load_config
from lens_core.data.prepare import prepare
from lens_core.distributed.count import Workers
from lens_core.errors import LensError
from lens_core.rollout.engine import load_policy
from lens_core.stages.plan import plan_training
from tests.helpers.fakes import save_tiny_policy

PAPER = load_config("llama-3.1-8b-math-dapo")
GIB = 2**30


def test_batch_arithmetic_of_the_paper() -> None:
    batch = plan_training(PAPER, "lens")["Batch"]
    assert batch["an update"] == "32 prompts x 16 completions = 512 rollouts"
    assert batch["a batch of rollouts"] == "128 prompts, 2,048 rollouts, 4 updates"
    # 1,500 / 4 = 375 batches of 2,048 rollouts, each of 4,096 tokens at most
    assert batch["the training"] == "1,500 updates on 375 batches, 768,000 rollouts"
    assert batch["generated tokens, at most"] == "3,145,728,000"


def test_ranks_share_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert plan_training(PAPER, "lens")["Batch"]["processes"] == "8, each 32 x 2 rollouts an update"


@pytest.mark.parametrize("shipped", [True, False])
def test_shape_of_a_local_base_is_read_from_its_configuration(tmp_path: Path, shipped: bool) -> None:
    base = None if shipped else save_tiny_policy(tmp_path)
    model, _ = load_policy("lens_core/training/ladder-base" if shipped else tmp_path)
    plan = plan_training(load_config("demo"), "lens", base)
    parameters = sum(p.numel() for p in model.parameters())
    assert plan["Memory of one process, GiB, an estimate"]["weights"] == f"{4 * parameters / GIB:.2f}"
    from lens_core.stages.plan import _shape

    shape = _shape(load_config("demo"), base)
    assert shape is not None
    assert shape.parameters == parameters


def test_unknown_shape_says_what_to_give() -> None:
    settings = load_config("demo", ["base=some/model"])
    memory = plan_training(settings, "lens")["Memory of one process, GiB, an estimate"]
    assert memory == {"unknown": "give base_shape in the configuration, or --base with a local folder"}


def test_unknown_method_is_named() -> None:
    with pytest.raises(LensError, match="no method 'nope'; it has grpo, lens"):
        plan_training(PAPER, "nope")


def test_data_that_would_be_used_is_shown(tmp_path: Path) -> None:
    settings = load_config("demo", ["data.train.per_level=3", "data.test.per_level=2"])
    assert plan_training(settings, "lens")["Data"] == {
        "training": "ladder, 3 of each level",
        "evaluation": "ladder, 2 of each level",
    }
    summary = prepare(settings.data, tmp_path / "data")
    # Whatever the configuration's own data are.
    assert plan_training(load_config("demo"), "lens", data=tmp_path / "data")["Data"] == {
        "folder": f"{tmp_path / 'data'}, made of ladder",
        "problems": f"{summary.train} to train on, 10 to evaluate on",
    }


def test_processes_that_cannot_share_a_step_are_refused() -> None:
    with pytest.raises(LensError, match=r"128 completions a step .* do not divide over 3 processes: change"):
        plan_training(load_config("demo"), "lens", workers=Workers(3, 3))
