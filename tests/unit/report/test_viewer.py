"""The sample viewer's page; how it looks and behaves in a browser is not tested here."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from lens_core.evaluation.records import Completion, ProblemResult
from lens_core.evaluation.summary import summarise
from lens_core.report.viewer import _DIGITS, render_viewer


def page(tmp_path: Path, *completions: dict[str, Any], **problem: Any) -> str:
    fields = {"outcome": "wrong", "reason": "not equal", "extracted": None, "confidence": 0.5, "tokens": 2}
    result = ProblemResult.model_validate(
        {"problem": "p", "prompt": "1 < 2?", "answer": "1", "level": None, "subject": None, "source": "s"}
        | {"completions": [{**fields, "truncated": False, **each} for each in completions], **problem}
    )
    report = summarise("<m>", "d", [result], len(completions), (1,))
    return render_viewer(report, [result], tmp_path / "viewer.html").read_text(encoding="utf-8")


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_viewer_holds_every_completion_and_needs_no_network(tmp_path: Path) -> None:
    text = page(tmp_path, {"text": "one"}, {"text": "two", "outcome": "correct", "extracted": "2", "truncated": True})
    (problem,) = data_of(text)
    assert problem[:6] == ["p", "1 < 2?", "1", None, None, "s"]
    assert problem[6] == [
        ["one", "wrong", "not equal", None, 0.5, 2, 0, ""],
        ["two", "correct", "not equal", "2", 0.5, 2, 1, ""],
    ]
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:|#)", text)
    assert not re.search(r"https?://|@import|fetch\(|innerHTML\s*=", text)


def test_what_a_model_writes_stays_text(tmp_path: Path) -> None:
    evil = '</script><script>alert(1)</script><!-- \u2028 &amp; \\ "'
    text = page(tmp_path, {"text": evil}, prompt=evil)
    assert data_of(text)[0][6][0][0] == evil
    assert text.count("<script") == text.count("</script>") == 2
    assert "<h1>Samples of &lt;m&gt;</h1>" in text
    HTMLParser().feed(text)


def test_tokens_are_two_digits_each(tmp_path: Path) -> None:
    # 63 times the probability: log 1 -> 63, log 0.5 -> 32; the emoji is two units of UTF-16; the end writes nothing.
    fields = {"text": "ab\U0001f600", "token_logprobs": [0.0, -0.693, -50.0], "token_lengths": [2, 1, 0]}
    (problem,) = data_of(page(tmp_path, fields))
    assert problem[6][0][7] == _DIGITS[2] + _DIGITS[63] + _DIGITS[2] + _DIGITS[32]
    # A token of 70 characters is written as one of 63 and one of 7.
    (problem,) = data_of(page(tmp_path, {"text": "x" * 70, "token_logprobs": [0.0], "token_lengths": [70]}))
    assert problem[6][0][7] == _DIGITS[63] * 2 + _DIGITS[7] + _DIGITS[63]


def test_filters_are_offered_where_there_is_a_choice(tmp_path: Path) -> None:
    results = [
        ProblemResult(
            problem=str(level), prompt="P", answer="1", level=level, subject="Algebra", source="s",
            completions=(Completion(text="t", outcome="wrong", reason="r", extracted=None, confidence=0.5, tokens=1,
                                    truncated=False),),
        )
        for level in (3, 1)
    ]  # fmt: skip
    report = summarise("m", "d", results, 1, (1,))
    text = render_viewer(report, results, tmp_path / "viewer.html").read_text(encoding="utf-8")
    assert '<select name="level"><option value="">all</option><option>1</option><option>3</option></select>' in text
    assert 'name="subject"' not in text
