import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lens_core.errors import LensError
from lens_core.rollout import fingerprint as module
from lens_core.rollout.fingerprint import identity, require_whole
from tests.helpers.fakes import save_tiny_policy


def test_identity_is_that_of_weights_configuration_and_tokenizer(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path)
    before = identity(folder)
    assert before.startswith("sha256:")
    (folder / "training.json").write_text("{}")  # our own records beside them
    assert identity(folder) == before
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert identity(folder) != before
        (folder / name).write_bytes(content)
    assert identity(folder) == before


def test_large_policies_are_known_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HASHED_BYTES", 0)
    weights = save_tiny_policy(tmp_path) / "model.safetensors"
    before = identity(tmp_path)
    os.utime(weights, ns=(0, 0))
    assert identity(tmp_path) != before


def test_what_is_no_policy_is_named() -> None:
    with pytest.raises(LensError, match="no/such-policy is neither a folder nor the name of a model"):
        identity("no/such-policy")


HALVES: dict[str, Callable[[Path], object]] = {
    "model.safetensors is damaged, or being written": lambda folder: os.truncate(folder / "model.safetensors", 100),
    "holds no causal language model .*: it has no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "tokenizer.json is damaged": lambda folder: os.truncate(folder / "tokenizer.json", 20),
    "config.json is damaged": lambda folder: os.truncate(folder / "config.json", 0),
    "lacks model-00002.safetensors": lambda folder: (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}'
    ),
}


@pytest.mark.parametrize("said", HALVES)
def test_policy_that_is_half_written_is_refused(said: str, tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path)
    require_whole(folder)
    HALVES[said](folder)
    with pytest.raises(LensError, match=said):
        require_whole(folder)


def test_name_on_a_hub_is_whole() -> None:
    require_whole("Qwen/Qwen2.5-0.5B")
