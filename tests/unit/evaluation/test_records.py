from pathlib import Path

import pytest

from lens_core.errors import LensError
from lens_core.evaluation.records import (
    Completion,
    PassKReport,
    ProblemResult,
    read_evaluation,
    read_report,
    read_results,
)
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


def test_records_round_trip(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text("".join(r.model_dump_json() + "\n" for r in RESULTS))
    assert read_results(tmp_path / "rollouts.jsonl") == RESULTS
    report = summarise("m", "digest", RESULTS, n=2, ks=(1, 2))
    assert PassKReport.model_validate_json(report.model_dump_json()) == report


def test_votes_group_equal_answers() -> None:
    answers = [completion("wrong", extracted=text) for text in ("3", "\\frac{1}{2}", "\\frac{1} {2}", None, None)]
    one = result("a", 1, *answers, completion("correct", extracted="0.5"), completion("correct", extracted="1/2"),
                 completion("ungraded", extracted="3"))  # fmt: skip
    # Two right ones; a 3; two halves, but for white space the same; two without an answer. Ungraded ones do not vote.
    assert one.votes == (2, (1, 2, 2))


def test_folder_without_an_evaluation_is_named(tmp_path: Path) -> None:
    with pytest.raises(LensError, match="holds no finished evaluation"):
        read_evaluation(tmp_path)
    (tmp_path / "passk.json").write_text("{}")
    with pytest.raises(LensError, match="holds no evaluation that can be read"):
        read_evaluation(tmp_path)


OLD = """{"model": "m", "data_digest": "d", "n": 2, "ks": [1, 2], "problems": 3,
"overall": {"1": {"estimate": 0.5, "low": 0.25, "high": 0.75, "problems": 3}},
"majority": {"1": {"estimate": 0.5, "low": 0.2, "high": 0.8, "problems": 3}},
"levels": {"4": {"1": {"estimate": 0.5, "low": 0.25, "high": 0.75, "problems": 3}}},
"negative_groups": 0.1, "ungraded": 0.2, "truncated": 0.3, "mean_tokens": 12.5,
"confidence_right": 0.9, "confidence_wrong": null,
"calibration": {"ece": 0.07, "auroc": 0.8,
    "bins": [{"low": 0.8, "high": 0.9, "answers": 6, "confidence": 0.85, "right": 0.5}]},
"slices": {"source": {"a": {"problems": 1, "overall": {}, "majority": {}, "ungraded": 1.0, "truncated": 0.0,
    "mean_tokens": 3.0, "calibration": null}}}}"""


def test_summary_with_a_key_for_each_metric_is_read(tmp_path: Path) -> None:
    (tmp_path / "passk.json").write_text(OLD)
    report = read_report(tmp_path)
    assert (report.overall[1].estimate, report.by_k["maj_at"][1].low, report.levels[4][1].high) == (0.5, 0.2, 0.75)
    assert report.values == {"negative_groups": 0.1, "ungraded": 0.2, "truncated": 0.3, "mean_tokens": 12.5} | {
        "confidence_right": 0.9, "confidence_wrong": None, "ece": 0.07, "auroc": 0.8
    }  # fmt: skip
    assert [row.answers for row in report.reliability] == [6]
    part = report.slices["source"]["a"]
    assert (part.overall, part.values["ungraded"], part.reliability) == ({}, 1.0, ())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "EOF while parsing"),
        (OLD.encode()[:300], "EOF while parsing"),
        (b"\xff\xfe", "passk.json"),
        (b"[1, 2]", "should be an object"),
        (b"{}", "Field required"),
        (b'{"evaluations": [], "trainings": []}', "Field required"),
        (b'{"overall": 1, "calibration": 2}', "should be an object"),
    ],
)
def test_damaged_summary_is_one_line_with_the_file_and_the_remedy(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "passk.json").write_bytes(content)
    with pytest.raises(LensError, match="holds no evaluation that can be read") as raised:
        read_report(tmp_path)
    message = str(raised.value)
    assert f"{tmp_path / 'passk.json'}" in message
    assert said in message
    assert "run the same `lens evaluate` again" in message
    assert "\n" not in message
    assert len(message) < 500


def test_missing_summary_is_one_line_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LensError) as raised:
        read_report(tmp_path)
    assert str(raised.value) == (
        f"{tmp_path} holds no finished evaluation ({tmp_path / 'passk.json'}: No such file or directory): "
        f"run `lens evaluate` with -o {tmp_path}"
    )
    (tmp_path / "passk.json").mkdir()
    with pytest.raises(LensError, match="Is a directory"):
        read_report(tmp_path)


def test_broken_line_of_results_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.jsonl"
    with pytest.raises(LensError, match=r"rollouts.jsonl cannot be read \(No such file"):
        read_results(path)
    path.write_text(RESULTS[0].model_dump_json() + "\n" + RESULTS[1].model_dump_json()[:40])
    with pytest.raises(LensError, match=r"rollouts.jsonl:2 is no result of a problem: delete the file"):
        read_results(path)
