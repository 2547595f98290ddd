"""A token limit that cuts off many completions is warned of, with the value to change."""

import json
from pathlib import Path

import pytest

from lens_core.stages import cut_off_in_training


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.0, 0.5], "25% of the training's completions were cut off"),
        ([0.1, 0.1], None),
        ([None, 0.3], "30% of"),
        ([None], None),
    ],
)
def test_training_is_warned_of_above_a_tenth(shares: list[float | None], said: str | None, tmp_path: Path) -> None:
    steps = [
        {"step": step} | ({} if share is None else {"completions/clipped_ratio": share})
        for step, share in enumerate(shares, start=1)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    found = cut_off_in_training(tmp_path)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(said)
        assert found.endswith("raise train.max_new_tokens")
