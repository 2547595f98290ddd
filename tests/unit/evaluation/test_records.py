from pathlib import Path

import pytest

from lens_core.evaluation.records import Completion, PassKReport, ProblemResult, read_results, summarise


def completion(outcome: str, confidence: float = 0.5, tokens: int = 10, truncated: bool = False) -> Completion:
    fields = {"outcome": outcome, "confidence": confidence, "tokens": tokens, "truncated": truncated}
    return Completion.model_validate({"text": "t", "reason": "r", "extracted": None, **fields})


def result(name: str, level: int | None, *completions: Completion) -> ProblemResult:
    return ProblemResult(
        problem=name, prompt="P", answer="1", level=level, subject=None, source="s", completions=completions
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
    assert (report.negative_groups, report.ungraded, report.truncated) == (0.5, 0.25, 0.25)
    assert report.mean_tokens == pytest.approx(15)
    assert report.confidence_right == pytest.approx(0.8)
    assert report.confidence_wrong == pytest.approx(0.3)


def test_summarise_without_levels_or_right_answers() -> None:
    report = summarise("m", "digest", [result("a", None, completion("wrong"))], n=1, ks=(1,))
    assert report.levels == {}
    assert report.confidence_right is None


def test_records_round_trip(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in RESULTS))
    assert read_results(tmp_path / "rollouts.jsonl") == RESULTS
    report = summarise("m", "digest", RESULTS, n=2, ks=(1, 2))
    assert PassKReport.model_validate_json(report.model_dump_json()) == report


def test_summarise_of_nothing_says_so() -> None:
    with pytest.raises(ValueError, match="results is empty"):
        summarise("m", "digest", [], n=1, ks=(1,))


def test_k_without_graded_answers_has_no_estimate() -> None:
    report = summarise("m", "digest", [result("a", 1, completion("ungraded"))], n=1, ks=(1,))
    assert (report.overall, report.levels) == ({}, {1: {}})
