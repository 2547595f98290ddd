"""Summaries of graded completions, by hand."""

import pytest

from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.evaluation.summary import summarise


def completion(
    outcome: str, confidence: float = 0.5, tokens: int = 10, truncated: bool = False, extracted: str | None = None
) -> Completion:
    fields = {"outcome": outcome, "confidence": confidence, "tokens": tokens, "truncated": truncated}
    return Completion.model_validate({"text": "t", "reason": "r", "extracted": extracted, **fields})


def result(
    name: str, level: int | None, *completions: Completion, subject: str | None = None, source: str = "s"
) -> ProblemResult:
    return ProblemResult(
        problem=name, prompt="P", answer="1", level=level, subject=subject, source=source, completions=completions
    )


RESULTS = [
    result("a", 1, completion("correct", 0.8), completion("wrong", 0.4, truncated=True)),
    result("b", 2, completion("wrong", 0.2), completion("ungraded", 0.9, tokens=30)),
]


def test_summarise_by_hand() -> None:
    report = summarise("m", "digest", RESULTS, n=2, ks=(1, 2))
    # a: 1 of 2 right; b: 0 of 1, its ungraded answer counts for nothing.
    assert report.overall[1].estimate == pytest.approx(0.25)
    assert (report.overall[2].estimate, report.overall[2].problems) == (1.0, 1)
    assert report.levels[1][1].estimate == 0.5
    assert 2 not in report.levels[2]
    assert [report.values[name] for name in ("negative_groups", "ungraded", "truncated")] == [0.5, 0.25, 0.25]
    assert report.values["mean_tokens"] == pytest.approx(15)
    assert report.values["confidence_right"] == pytest.approx(0.8)
    assert report.values["confidence_wrong"] == pytest.approx(0.3)


def test_summarise_without_levels_or_right_answers() -> None:
    report = summarise("m", "digest", [result("a", None, completion("wrong"))], n=1, ks=(1,))
    assert report.levels == {}
    assert report.values["confidence_right"] is None


def test_summarise_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="results is empty"):
        summarise("m", "digest", [], n=1, ks=(1,))


def test_k_without_graded_answers_has_no_estimate() -> None:
    report = summarise("m", "digest", [result("a", 1, completion("ungraded"))], n=1, ks=(1,))
    assert (report.overall, report.levels) == ({}, {1: {}})


def test_majority_by_hand() -> None:
    report = summarise("m", "d", [result("a", None, *[completion("correct", extracted="1")] * 2,
                                         completion("wrong", extracted="2"))], n=3, ks=(1, 2, 3))  # fmt: skip
    # Two of three right: maj@1 2/3; of the pairs one is right, two are ties: 2/3; all three: right.
    assert [report.by_k["maj_at"][k].estimate for k in (1, 2, 3)] == pytest.approx([2 / 3, 2 / 3, 1.0])


def test_slices_by_subject_and_source() -> None:
    right, wrong = completion("correct", 0.9, tokens=10), completion("wrong", 0.6, tokens=20, truncated=True)
    results = [
        result("a", None, right, right, subject="Algebra", source="math"),
        result("b", None, right, wrong, subject="Geometry", source="math"),
        result("c", None, wrong, wrong, subject="Geometry", source="math"),
    ]
    report = summarise("m", "d", results, n=2, ks=(1, 2))
    assert report.slices.keys() == {"subject"}  # one source is no slice, and there are no levels
    geometry = report.slices["subject"]["Geometry"]
    assert (geometry.problems, geometry.overall[1].estimate, geometry.overall[2].estimate) == (2, 0.25, 0.5)
    assert [geometry.values[name] for name in ("mean_tokens", "truncated", "ungraded")] == [17.5, 0.75, 0.0]
    # Bin (0.5, 0.6]: 3 of 4 answers, none right, |0 - 0.6|; bin (0.8, 0.9]: 1 of 4, right, |1 - 0.9|.
    assert geometry.values["ece"] == pytest.approx(0.75 * 0.6 + 0.25 * 0.1)
