"""Problems and the base policy of a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lens_core.config import RunConfig
from lens_core.data.prepare import BAD_ROWS_FILE, REMOVED_FILE, TEST_FILE, TRAIN_FILE, in_either_form
from lens_core.data.prepare import prepare as prepare_data
from lens_core.data.summary import DataSummary
from lens_core.files import read_json, write_json
from lens_core.folders import BASE_POLICY, DATA, claimed
from lens_core.progress import Listener, Progress, ignore
from lens_core.rollout.shipped import resolved
from lens_core.stages.tracked import tracked
from lens_core.tracking import Tracking

if TYPE_CHECKING:
    from lens_core.data.collect import CountTokens


BASE_FILE = "base.json"
"""Beside a copied base policy: what the configuration called it."""


def prepare(config: RunConfig, output: Path, tracking: Tracking | None = None, on_progress: Listener = ignore) -> Path:
    """Write the run's problems, `data.json` and `data_card.html` into `output`.

    Raises:
        LensError: as `lens_core.data.prepare` does, or if `output` is not ours (lens_core.folders).
    """
    from lens_core.report.data_card import DATA_CARD_FILE, render_card

    with claimed(output, DATA), tracked(tracking, "prepare", config) as run:
        on_progress(Progress("prepare", 0, 100, ""))
        summary = prepare_data(config.data, output, _token_counter(config), on_progress)
        render_card(output, f"Data in {output.name}")
        if run is not None:
            run.metrics({key: value for key, value in summary if isinstance(value, int)})
            run.dataset(in_either_form(output / TRAIN_FILE), summary.train_digest, "train", summary.train)
            run.dataset(in_either_form(output / TEST_FILE), summary.test_digest, "test", summary.test)
            for name in (BAD_ROWS_FILE, REMOVED_FILE, DATA_CARD_FILE):
                if (output / name).exists():
                    run.artifact(output / name)
    on_progress(Progress("prepare", 100, 100, _describe_data(summary)))
    return output


def _token_counter(config: RunConfig) -> CountTokens | None:
    """Tokens of a question as the base policy is asked; None where the configuration does not need them."""
    if config.data.max_prompt_tokens is None:
        return None
    from lens_core.rollout.engine import encode_prompt, load_tokenizer

    tokenizer = load_tokenizer(config.base)
    return lambda question: len(encode_prompt(question, tokenizer, config.train.prompt))


def base(config: RunConfig, output: Path) -> Path:
    """Put the base policy into `output`: the shipped one, a local folder's, or one from the hub.

    The weights of a local folder are not copied, but linked, where it lies on the same file system.

    Raises:
        LensError: if there is no such policy, or `output` is not ours (lens_core.folders).
    """
    with claimed(output, BASE_POLICY):
        _base(config, output)
        write_json(output / BASE_FILE, {"base": config.base})
    return output


def base_name(policy: Path) -> str:
    """What a configuration calls the policy in a folder: the name that `base` copied it by, else the folder itself."""
    path = policy / BASE_FILE
    return str(read_json(path, "base")["base"]) if path.exists() else str(policy)


def _base(config: RunConfig, output: Path) -> None:
    from lens_core.rollout.engine import load_policy

    shipped = resolved(config.base)
    if shipped != config.base:
        shutil.copytree(shipped, output, dirs_exist_ok=True)
        return
    model, tokenizer = load_policy(config.base)
    tokenizer.save_pretrained(output)
    if not Path(config.base).is_dir():
        model.save_pretrained(output)
        return
    model.config.save_pretrained(output)
    model.generation_config.save_pretrained(output)
    for weights in Path(config.base).glob("*.safetensors*"):
        _link(weights, output / weights.name)


def _link(file: Path, place: Path) -> None:
    """A second name of `file`, or a copy where the file system has none."""
    if place.exists() and place.samefile(file):
        return
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(file.resolve())
    except OSError:
        shutil.copyfile(file, place)


def _describe_data(summary: DataSummary) -> str:
    unreadable = f", {summary.unreadable:,} unreadable gold answers (unreadable.jsonl)" if summary.unreadable else ""
    return (
        f"{summary.train:,} problems to train on, {summary.test:,} to test; "
        f"{summary.overlap_removed} overlapping removed, {summary.bad_rows} bad rows{unreadable}"
    )
