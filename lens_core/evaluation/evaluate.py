"""Pass@k evaluation: generate, grade, aggregate."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from lens_core.config import EvaluationConfig
from lens_core.config.train import ASKS_FOR_BOX
from lens_core.data.problem import Problem
from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.evaluation.votes import wrong_votes
from lens_core.rollout.engine import (
    Engine,
    Rollout,
    SamplingConfig,
    TransformersEngine,
    best_device,
    format_prompt,
    load_policy,
    sample_rollouts,
)
from lens_core.rollout.shipped import resolved
from lens_core.rollout.tokens import TokenLengths
from lens_core.verify import Verdict
from lens_core.verify.plugin import grader_for


def evaluate_policy(
    problems: Sequence[Problem], model: str | Path, config: EvaluationConfig, first: int = 0
) -> Iterator[list[ProblemResult]]:
    """Yield the graded completions of the problems, in their order, batch by batch.

    The same seed gives every model the same random draws, so that models are compared on equal luck.

    Args:
        model: a folder in Hugging Face format, or the name of one on the hub or shipped.
        first: leave out the problems before this one; the others get what they would have got.
    """
    with closing(_engine(model, engine_name(config))) as engine:
        yield from evaluate_engine(problems, engine, config, first)


def evaluate_engine(
    problems: Sequence[Problem], engine: Engine, config: EvaluationConfig, first: int = 0
) -> Iterator[list[ProblemResult]]:
    """The same for an engine that is there already."""
    sampling = SamplingConfig(
        temperature=config.temperature, max_new_tokens=config.max_new_tokens, batch_size=config.batch_size
    )
    questions = [problem.prompt for problem in problems]
    grader = grader_for(config.verifier, config.answer_pattern, _is_strict(config, engine))
    token_lengths = TokenLengths(engine.tokenizer) if config.token_logprobs else None
    left = iter(problems[first:])
    for groups in sample_rollouts(engine, questions, config.n, sampling, config.seed, config.prompt, first):
        batch = [next(left) for _ in groups]
        graded = iter(
            grader.grade_many(
                (rollout.text, problem.gold)
                for problem, rollouts in zip(batch, groups, strict=True)
                for rollout in rollouts
            )
        )
        verdicts = [[next(graded) for _ in rollouts] for rollouts in groups]
        votes = wrong_votes(grader, [[rollout.text for rollout in rollouts] for rollouts in groups], verdicts)
        yield [
            ProblemResult(
                problem=problem.id,
                prompt=problem.prompt,
                answer=problem.answer,
                level=problem.level,
                subject=problem.subject,
                source=problem.source,
                completions=tuple(
                    _completion(*each, token_lengths) for each in zip(rollouts, of_problem, numbers, strict=True)
                ),
            )
            for problem, rollouts, of_problem, numbers in zip(batch, groups, verdicts, votes, strict=True)
        ]


def engine_name(config: EvaluationConfig) -> Literal["transformers", "vllm"]:
    """What `auto` comes to on this machine: vLLM where it is installed and there is a GPU, else transformers."""
    if config.engine != "auto":
        return config.engine
    found = importlib.util.find_spec("vllm") is not None and best_device() == "cuda"
    return "vllm" if found else "transformers"


def _is_strict(config: EvaluationConfig, engine: Engine) -> bool:
    if config.extraction is not None:
        return config.extraction == "strict"
    return ASKS_FOR_BOX in str(format_prompt("", engine.tokenizer, config.prompt))


def _engine(model: str | Path, name: Literal["transformers", "vllm"]) -> Engine:
    if name == "transformers":
        return TransformersEngine(*load_policy(model))
    from lens_core.rollout.vllm_engine import VllmEngine

    return VllmEngine(resolved(model))


def _completion(rollout: Rollout, verdict: Verdict, vote: int | None, token_lengths: TokenLengths | None) -> Completion:
    kept = token_lengths is not None
    return Completion(
        text=rollout.text,
        outcome=verdict.outcome.value,
        reason=verdict.reason,
        extracted=verdict.extracted,
        vote=vote,
        confidence=math.exp(sum(rollout.token_logprobs) / len(rollout.token_logprobs)),
        tokens=len(rollout.token_ids),
        truncated=rollout.truncated,
        # + 0.0: no -0.0
        token_logprobs=tuple(round(value, 3) + 0.0 for value in rollout.token_logprobs) if kept else None,
        token_lengths=None if token_lengths is None else token_lengths(rollout.token_ids, rollout.text),
    )
