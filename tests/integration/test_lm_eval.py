"""lm-evaluation-harness itself, on the same generations: the same numbers."""

from collections.abc import Iterator
from importlib import resources
from itertools import chain, permutations
from typing import Any

import pytest
from datasets import Dataset

from lens_core.config import SHIPPED_BASE, EvaluationConfig
from lens_core.data.ladder import LEVELS, ladder
from lens_core.evaluation.evaluate import evaluate_engine
from lens_core.evaluation.records import PassKReport, ProblemResult
from lens_core.evaluation.summary import summarise
from lens_core.rollout.engine import TransformersEngine, load_policy
from tests.helpers.prerequisites import package

pytestmark = pytest.mark.integration

N = 4
KS = range(1, N + 1)


@pytest.fixture(scope="module")
def harness() -> Any:
    return package("lm_eval", "lm-evaluation-harness", "make lm-eval")


@pytest.fixture(scope="module")
def results() -> list[ProblemResult]:
    """What the shipped base policy answers to two problems of each level."""
    config = EvaluationConfig(n=N, ks=tuple(KS), max_new_tokens=64, temperature=1.5, engine="transformers", seed=3)
    with resources.as_file(resources.files("lens_core.training") / SHIPPED_BASE) as base:
        engine = TransformersEngine(*load_policy(base))
    return list(chain.from_iterable(evaluate_engine(ladder(2, 5, LEVELS), engine, config)))


@pytest.fixture(scope="module")
def report(results: list[ProblemResult]) -> PassKReport:
    return summarise("base", "d", results, N, KS)


def run(harness: Any, docs: list[dict[str, Any]], filters: list[dict[str, Any]], metric: Any) -> dict[str, float]:
    """What `lm_eval.simple_evaluate` reports of completions that were drawn before, each doc's in its order."""
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Replay(LM):
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            left: dict[int, Iterator[str]] = {}
            return [next(left.setdefault(each.doc_id, iter(each.doc["completions"]))) for each in requests]

        def loglikelihood(self, requests: list[Any]) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any]) -> Any:
            raise NotImplementedError

    task = {
        "task": "replay",
        "custom_dataset": lambda **_: {"test": Dataset.from_list(docs)},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{answer}}",
        "repeats": N,
        "generation_kwargs": {"until": [], "do_sample": True},
        "filter_list": filters,
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True}],
    }
    found = harness.simple_evaluate(
        model=Replay(),
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),  # its own thousands of tasks take seconds to list
        bootstrap_iters=0,
        log_samples=False,
    )
    return {name: value for name, value in found["results"]["replay"].items() if isinstance(value, float)}


BOXED = {"function": "regex", "regex_pattern": r"\\boxed\{(-?\d+)\}"}


def docs_of(results: list[ProblemResult]) -> list[dict[str, Any]]:
    return [
        {
            "prompt": result.prompt,
            "answer": result.answer,
            "completions": [completion.text for completion in result.completions],
        }
        for result in results
    ]


def test_the_generations_are_worth_comparing(results: list[ProblemResult], report: PassKReport) -> None:
    assert 0 < report.overall[1].estimate < report.overall[N].estimate < 1
    assert any(len(result.votes[1]) > 1 for result in results)  # several wrong answers


def test_pass_at_k_is_the_harness_s(harness: Any, results: list[ProblemResult], report: PassKReport) -> None:
    from lm_eval.tasks.cruxeval.utils import _pass_at_k

    def pass_at_k(references: list[str], predictions: list[list[str]]) -> dict[str, float]:
        right = predictions[0].count(references[0])
        return {f"pass@{k}": float(_pass_at_k(N, right, k)) for k in KS}

    theirs = run(harness, docs_of(results), [{"name": "all", "filter": [BOXED]}], pass_at_k)
    assert {f"pass@{k},all": report.overall[k].estimate for k in KS} == pytest.approx(theirs, abs=1e-12)


def test_pass_at_1_is_the_harness_s_mean_accuracy(
    harness: Any, results: list[ProblemResult], report: PassKReport
) -> None:
    theirs = run(harness, docs_of(results), [{"name": "all", "filter": [BOXED]}], "exact_match")
    assert theirs["exact_match,all"] == pytest.approx(report.overall[1].estimate, abs=1e-12)


def test_majority_is_the_mean_of_the_harness_s_over_all_orders(
    harness: Any, results: list[ProblemResult], report: PassKReport
) -> None:
    """The harness takes the first k answers, and of equally frequent ones the first: over all orders of the answers
    that is every subset, and every tied answer equally often."""
    docs = [
        {**doc, "completions": list(order)} for doc in docs_of(results) for order in permutations(doc["completions"])
    ]
    vote = [{"function": "majority_vote"}, {"function": "take_first"}]
    filters = [{"name": f"maj@{k}", "filter": [{"function": "take_first_k", "k": k}, BOXED, *vote]} for k in KS]
    theirs = run(harness, docs, filters, "exact_match")
    ours = {f"exact_match,maj@{k}": report.by_k["maj_at"][k].estimate for k in KS}
    assert ours == pytest.approx({name: theirs[name] for name in ours}, abs=1e-9)
