import os
from pathlib import Path

import pytest

from lens_core.errors import LensError
from lens_core.rollout import fingerprint as module
from lens_core.rollout.fingerprint import identity
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
