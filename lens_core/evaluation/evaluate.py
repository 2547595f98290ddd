"""Pass@k evaluation: generate, grade, aggregate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from lens_core.config import EvaluationConfig
from lens_core.data.problem import Problem
from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.rollout.engine import (
    Engine,
    Rollout,
    SamplingConfig,
    TransformersEngine,
    load_policy,
    sample_rollouts,
)
from lens_core.verify import Verdict
from lens_core.verify.plugin import grader_for


def evaluate_policy(
    problems: Sequence[Problem], model: Path, config: EvaluationConfig, on_problem: Callable[[int], None]
) -> Iterator[ProblemResult]:
    """Yield the graded completions of each problem, in the order of `problems`.

    `on_problem(done)` is called after each problem. The same seed gives every model the same random draws, so that
    models are compared on equal luck.
    """
    with closing(_engine(model, config)) as engine:
        yield from evaluate_engine(problems, engine, config, on_problem)


def evaluate_engine(
    problems: Sequence[Problem], engine: Engine, config: EvaluationConfig, on_problem: Callable[[int], None]
) -> Iterator[ProblemResult]:
    """The same for an engine that is there already."""
    sampling = SamplingConfig(
        temperature=config.temperature, max_new_tokens=config.max_new_tokens, batch_size=config.batch_size
    )
    questions = [problem.prompt for problem in problems]
    grader = grader_for(config.verifier)
    groups = sample_rollouts(engine, questions, config.n, sampling, config.seed, config.prompt)
    for done, (problem, rollouts) in enumerate(zip(problems, groups, strict=True), start=1):
        verdicts = grader.grade_many([(rollout.text, problem.answer) for rollout in rollouts])
        yield ProblemResult(
            problem=problem.id,
            prompt=problem.prompt,
            answer=problem.answer,
            level=problem.level,
            subject=problem.subject,
            source=problem.source,
            completions=tuple(map(_completion, rollouts, verdicts)),
        )
        on_problem(done)


def _engine(model: Path, config: EvaluationConfig) -> Engine:
    if config.engine == "transformers":
        return TransformersEngine(*load_policy(model))
    from lens_core.rollout.vllm_engine import VllmEngine

    return VllmEngine(model)


def _completion(rollout: Rollout, verdict: Verdict) -> Completion:
    return Completion(
        text=rollout.text,
        outcome=verdict.outcome.value,
        reason=verdict.reason,
        extracted=verdict.extracted,
        confidence=math.exp(sum(rollout.token_logprobs) / len(rollout.token_logprobs)),
        tokens=len(rollout.token_ids),
        truncated=rollout.truncated,
    )
