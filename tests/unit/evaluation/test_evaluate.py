"""Evaluations with a tiny policy: what is drawn for a problem does not depend on what else is asked."""

from collections.abc import Sequence
from itertools import chain

import pytest

from lens_core.config import EvaluationConfig
from lens_core.data.ladder import LEVELS, ladder
from lens_core.data.problem import Problem
from lens_core.evaluation import evaluate
from lens_core.evaluation.evaluate import engine_name, evaluate_engine
from lens_core.evaluation.records import ProblemResult
from lens_core.rollout.decode import Sampled
from lens_core.rollout.engine import SamplingConfig, TransformersEngine
from lens_core.training.ladder_base import character_tokenizer
from tests.helpers.fakes import tiny_policy

PROBLEMS = ladder(2, 0, LEVELS)  # prompts of different lengths, so that batches are padded differently


class CountingEngine(TransformersEngine):
    """Remembers how many rows it was asked for."""

    def __init__(self) -> None:
        model = tiny_policy()
        model.generation_config.eos_token_id = list(range(2, 12))
        super().__init__(model, character_tokenizer())
        self.rows: list[int] = []

    def sample_ids(
        self, prompts: Sequence[Sequence[int]], sampling: SamplingConfig, seed: int, first_row: int = 0
    ) -> Sampled:
        self.rows.append(len(prompts))
        return super().sample_ids(prompts, sampling, seed, first_row)


def evaluated(
    problems: Sequence[Problem] = PROBLEMS, batch_size: int = 12, first: int = 0, **config: object
) -> tuple[list[ProblemResult], list[int]]:
    engine = CountingEngine()
    fields = {"n": 4, "ks": [1], "max_new_tokens": 12, "batch_size": batch_size, "engine": "transformers", **config}
    batches = evaluate_engine(problems, engine, EvaluationConfig.model_validate(fields), first)
    return list(chain.from_iterable(batches)), engine.rows


def drawn(results: Sequence[ProblemResult]) -> list[list[str]]:
    return [[completion.text for completion in result.completions] for result in results]


def test_what_is_drawn_does_not_depend_on_the_batch() -> None:
    whole, rows = evaluated()
    assert rows == [12, 12, 12, 4]  # three problems a batch
    for batch_size in (1, 8, 256):
        assert drawn(evaluated(batch_size=batch_size)[0]) == drawn(whole)
    assert len({text for texts in drawn(whole) for text in texts}) > 30


def test_an_evaluation_goes_on_with_what_is_missing_and_nothing_else() -> None:
    whole, _ = evaluated()
    rest, rows = evaluated(first=6)
    assert rest == whole[6:]  # bit for bit: batches begin where they had begun
    assert rows == [12, 4]
    rest, rows = evaluated(first=7)  # in the middle of a batch
    assert drawn(rest) == drawn(whole[7:])
    assert rows == [8, 4]
    assert evaluated(first=10) == ([], [])


def test_tokens_carry_their_confidence() -> None:
    for result in evaluated()[0]:
        for completion in result.completions:
            assert completion.token_logprobs is not None
            assert completion.token_lengths is not None
            assert len(completion.token_logprobs) == len(completion.token_lengths) == completion.tokens
            assert sum(completion.token_lengths) == len(completion.text)
            # The confidence is that of the tokens, which are kept to three digits.
            assert completion.confidence == pytest.approx(
                2.718281828 ** (sum(completion.token_logprobs) / completion.tokens), abs=1e-3
            )
            assert all(value == round(value, 3) for value in completion.token_logprobs)


def test_tokens_are_left_out_where_nobody_wants_them() -> None:
    (completion, *_) = evaluated(token_logprobs=False)[0][0].completions
    assert (completion.token_logprobs, completion.token_lengths) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "device", "vllm", "chosen"),
    [
        ("auto", "cpu", True, "transformers"),
        ("auto", "cuda", True, "vllm"),
        ("auto", "cuda", False, "transformers"),
        ("vllm", "cpu", False, "vllm"),
        ("transformers", "cuda", True, "transformers"),
    ],
)
def test_auto_is_vllm_where_it_is_installed_and_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, wanted: str, device: str, vllm: bool, chosen: str
) -> None:
    monkeypatch.setattr(evaluate, "best_device", lambda: device)
    monkeypatch.setattr(evaluate.importlib.util, "find_spec", lambda _: object() if vllm else None)
    config = EvaluationConfig.model_validate({"max_new_tokens": 8, "engine": wanted})
    assert engine_name(config) == chosen
