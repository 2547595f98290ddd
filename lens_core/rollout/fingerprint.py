"""What makes a policy the policy that it is, as a short text that can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

from lens_core.errors import LensError, first_line
from lens_core.files import read_json
from lens_core.rollout.shipped import resolved

NO_POLICY = "holds no causal language model in Hugging Face format (config.json, model.safetensors, tokenizer files)"
_PARTS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""All that decides over a policy's answers; a training's own records beside it do not."""
_HASHED_BYTES = 2**34


def identity(policy: str | Path) -> str:
    """SHA-256 of a policy folder's weights, configuration and tokenizer; for a hub's name, the name with its commit.

    Files above 16 GiB together are known by name, size and time of change instead of by content.

    Raises:
        LensError: if it is neither a folder nor a model that a hub, or its cache, has.
    """
    folder = Path(resolved(policy))
    if not folder.is_dir():
        return f"{policy}@{_commit(str(policy))}"
    files, whole = _files(folder), is_known_by_content(folder)
    sha256 = hashlib.sha256()
    for path in files:
        sha256.update(f"{path.name} {_content(path) if whole else _stamp(path)}\n".encode())
    return f"sha256:{sha256.hexdigest()}"


def is_known_by_content(folder: Path) -> bool:
    """Whether a copy of the policy in `folder` has its identity."""
    return sum(path.stat().st_size for path in _files(folder)) <= _HASHED_BYTES


def _files(folder: Path) -> list[Path]:
    return sorted({path for part in _PARTS for path in folder.glob(part) if path.is_file()})


def require_whole(policy: str | Path) -> None:
    """Refuse a policy folder that is being written, or was cut short by a kill or a full disk, before it is loaded.

    Raises:
        LensError: naming what is missing or damaged.
    """
    folder = Path(policy)
    if not folder.is_dir():  # a hub's name
        return
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise LensError(f"{folder} {NO_POLICY}: it has no weights (*.safetensors)")
    for path in weights:
        try:
            with safe_open(path, "np"):
                pass
        except (SafetensorError, OSError) as error:
            raise LensError(
                f"{path} is damaged, or being written ({first_line(error)}): restore it, or wait"
            ) from error
    for path in sorted(folder.glob("*.index.json")):
        missing = sorted(set(read_json(path, "weight_map")["weight_map"].values()) - {each.name for each in weights})
        if missing:
            raise LensError(f"{folder} lacks {missing[0]}, which {path.name} names: restore it, or wait")
    for path in (each for part in _PARTS for each in sorted(folder.glob(part)) if each.suffix == ".json"):
        read_json(path)


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> str:
    return f"{path.stat().st_size} {path.stat().st_mtime_ns}"


def _commit(name: str) -> str:
    from transformers.utils import cached_file, extract_commit_hash

    try:
        path = cached_file(name, "config.json")
    except (OSError, ValueError) as error:
        raise LensError(
            f"{name} is neither a folder nor the name of a model that can be had from a hub: {first_line(error)}"
        ) from error
    return str(extract_commit_hash(path, None))
