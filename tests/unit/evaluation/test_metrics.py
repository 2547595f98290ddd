"""The metrics: said once, named everywhere."""

from pathlib import Path

import pytest

from lens_core.evaluation.metrics import METRICS, METRICS_BY_K, in_words
from lens_core.evaluation.records import Completion, ProblemResult, Slice

DOCS = Path(__file__).resolve().parents[3] / "docs"


def results(*outcomes: str) -> list[ProblemResult]:
    """A problem for each string: `+` correct (confidence 0.9), `-` wrong (0.7), `?` ungraded (0.1)."""
    words = {"+": ("correct", 0.9), "-": ("wrong", 0.7), "?": ("ungraded", 0.1)}
    fields = {"text": "", "reason": "", "extracted": None, "tokens": 10, "truncated": False}
    return [
        ProblemResult(
            problem=str(place), prompt="P", answer="1", level=None, subject=None, source="s",
            completions=tuple(
                Completion.model_validate({**fields, "outcome": words[sign][0], "confidence": words[sign][1]})
                for sign in signs
            ),
        )
        for place, signs in enumerate(outcomes)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("negative_groups", 1 / 2),  # of the two problems with a graded completion, the second has no correct one
        ("mean_tokens", 10.0),
        ("truncated", 0.0),
        ("ungraded", 3 / 6),
        ("ece", 2 / 3 * 0.7 + 1 / 3 * 0.1),  # two wrong ones at 0.7, a correct one at 0.9
        ("auroc", 1.0),
        ("confidence_right", 0.9),
        ("confidence_wrong", 0.7),
    ],
)
def test_metric_by_hand(name: str, expected: float) -> None:
    (metric,) = [each for each in METRICS if each.name == name]
    assert metric.of(results("+-", "-?", "??")) == pytest.approx(expected)


def test_metrics_of_ungraded_completions_are_absent_and_not_0() -> None:
    absent = {metric.name for metric in METRICS if metric.of(results("??")) is None}
    assert absent == {"ece", "auroc", "confidence_right", "confidence_wrong"}


def test_names_are_unique_and_no_name_is_that_of_a_metric_with_its_k() -> None:
    names = [each.name for each in (*METRICS_BY_K, *METRICS)]
    assert len(names) == len(set(names))
    assert not [name for name in names if name.rsplit("_", 1)[-1].isdigit()]


def test_every_metric_is_documented() -> None:
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    assert [each.name for each in (*METRICS_BY_K, *METRICS) if f"`{each.name}`" not in text] == []


def test_values_are_shown_in_their_unit_and_what_is_absent_as_a_dash() -> None:
    said = in_words(Slice(problems=1, by_k={}, values={"ungraded": 0.125, "mean_tokens": 31.42, "ece": 0.0714}))
    assert {"Negative groups –", "Tokens 31.4", "Ungraded 12.5 %", "ECE 0.071"} < set(said.split(" · "))
