"""A recipe in miniature: the same code paths in a minute on a CPU, to rehearse a run before GPUs are paid for.

What decides which code runs stays as the recipe says: names, methods, updates on a batch, accumulation, clipping, loss,
LoRA, bfloat16, prompts, kinds and mixtures of data, engines, schedulers. What decides how long it takes becomes small:
the base is a random model of the same architecture, a data set has a few rows in its own columns, answers are short.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lens_core.config import SHIPPED_BASE, ModelShape, RunConfig, SourceConfig, parse
from lens_core.data.miniature import stand_ins, write_source
from lens_core.data.problem import Problem
from lens_core.errors import LensError
from lens_core.files import write_text
from lens_core.folders import MINIATURE, claimed
from lens_core.training.miniature_base import HEAD_SIZE, save_miniature

_PROMPTS, _GROUP, _TOKENS = 2, 4, 16
_ROWS, _TEST_ROWS, _PER_LEVEL = 24, 6, 2
_TEST_SEED = 1000
"""Of the test problems; those of training have 0, 1, ... for each source."""


def shrink(config: RunConfig, path: Path) -> RunConfig:
    """Write `config` in miniature to `path`, and its model and data into a folder of that name beside it.

    Raises:
        LensError: if there is something at either place, or the base's architecture cannot be found out.
    """
    folder = path.with_suffix("").absolute()
    if path.suffix not in (".yaml", ".yml"):
        raise LensError(f"{path} must be the name of a YAML file, for example tiny.yaml")
    for place in (path, folder):
        if place.exists():
            raise LensError(f"{place} is there already: give another name, or remove it")
    with claimed(folder, MINIATURE):
        return _shrink(config, path, folder)


def _shrink(config: RunConfig, path: Path, folder: Path) -> RunConfig:
    tree = config.model_dump(mode="json")
    tree["train"] = _train(tree["train"])
    for name, method in tree["methods"].items():
        small = _train(config.train_for(name).model_dump(mode="json"))
        method["train"] = {key: small[key] for key in method["train"]}
    tree["evaluation"] |= _evaluation(tree["evaluation"])
    if config.base != SHIPPED_BASE:  # first, as it may be refused
        shape = _base(config.base, folder / "base")
        tree |= {"base": str(folder / "base"), "base_shape": shape.model_dump()}
    tree["data"] |= _data(config, folder / "data", max(_ROWS, 3 * _PROMPTS * config.train.updates_per_batch))
    if tree["study"] is not None:
        tree["study"]["seeds"] = tree["study"]["seeds"][:2]
    if tree["sweep"] is not None:
        sweep = tree["sweep"]
        sweep |= {"trials": min(sweep["trials"], 3), "validate_every": 2, "k": min(sweep["k"], _GROUP)}
    if tree["about"] is not None:
        tree["about"] |= {"hardware": "2 CPU cores", "hours": "0.05 at most", "reported": "nothing: a rehearsal"}
    found = parse(RunConfig, tree, str(path))
    head = f"# {config.name} in miniature (`lens recipe shrink`): to rehearse with, not to learn from.\n"
    write_text(path, head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=110))
    return found


def _train(train: dict[str, Any]) -> dict[str, Any]:
    """Two batches of rollouts, and more than one micro-batch where there was one before."""
    steps = max(4, 2 * train["updates_per_batch"])
    sizes = {
        "steps": steps,
        "max_tokens": steps * _PROMPTS * _GROUP * _TOKENS // 2,
        "prompts_per_step": _PROMPTS,
        "group_size": _GROUP,
        "micro_batch_size": _GROUP // 2,
        "max_new_tokens": _TOKENS,
        "warmup_steps": min(train["warmup_steps"], 1),
        "checkpoint_every": 2,
        "log_every": 1,
    }
    small = train | {key: value for key, value in sizes.items() if train[key] is not None}
    if train["vllm"] is not None:
        small["vllm"] = train["vllm"] | {"mode": "colocate", "server_url": None}
    if train["rollouts"] is not None:
        small["rollouts"] = train["rollouts"] | {"workers": min(train["rollouts"]["workers"], 2)}
    return small


def _evaluation(evaluation: dict[str, Any]) -> dict[str, Any]:
    n = min(evaluation["n"], _GROUP)
    ks = [k for k in evaluation["ks"] if k <= n] or [1]
    return {"n": n, "ks": ks, "max_new_tokens": _TOKENS, "traces": min(evaluation["traces"], _GROUP)}


def _data(config: RunConfig, folder: Path, rows: int) -> dict[str, Any]:
    """Sources of the same kinds with few rows, one of which is also a test problem, and so to be removed."""
    data, test = config.data, stand_ins(_TEST_ROWS, _TEST_SEED)
    changes: dict[str, Any] = {"validation": min(data.validation, _TEST_ROWS)}
    train = [
        _source(source, folder / f"train-{index}", [*stand_ins(rows, index), test[0]], -(-rows // 5))
        for index, source in enumerate(data.train)
    ]
    if data.test is not None:
        changes["test"] = _source(data.test, folder / "test", test, _PER_LEVEL)
    against = [
        _source(source, folder / f"against-{index}", test, _PER_LEVEL)
        for index, source in enumerate(data.decontamination.against)
    ]
    changes["decontamination"] = data.decontamination.model_dump(mode="json") | {"against": against}
    if data.pass_rate is not None:
        path = folder / "pass-rates.jsonl"
        rate = (data.pass_rate.low + data.pass_rate.high) / 2
        problems = [each for index in range(len(data.train)) for each in stand_ins(rows, index)]
        write_text(path, "".join(json.dumps({"prompt": each.prompt, "pass_rate": rate}) + "\n" for each in problems))
        changes["pass_rate"] = data.pass_rate.model_dump(mode="json") | {"path": str(path)}
    return changes | {"train": train}


def _source(source: SourceConfig, folder: Path, problems: Sequence[Problem], per_level: int) -> dict[str, Any]:
    if source.kind == "ladder":
        assert source.per_level is not None
        return source.model_dump(mode="json") | {"per_level": min(source.per_level, per_level)}
    if source.kind == "reasoning_gym":
        assert source.size is not None
        return source.model_dump(mode="json") | {"size": min(source.size, len(problems))}
    found = write_source(source, folder, problems).model_dump(mode="json")
    return found if source.limit is None else found | {"limit": min(source.limit, len(problems) - 4)}


def _base(base: str, output: Path) -> ModelShape:
    policy = save_miniature(base, output, [f"{each.prompt}\n{each.solution}" for each in stand_ins(_ROWS, 0)])
    config = policy.config
    return ModelShape(
        parameters=policy.num_parameters(),
        layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        kv_heads=config.num_key_value_heads,
        head_size=HEAD_SIZE,
    )
