"""The model card's text."""

import ast
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import PassKReport
from lens_core.report.model_card import model_card

REPORT = PassKReport(
    model="lens",
    data_digest="d" * 64,
    n=8,
    ks=(1, 4),
    problems=50,
    by_k={"pass_at": {1: Estimate(0.47, 0.42, 0.52, 50), 4: Estimate(0.66, 0.6, 0.71, 50)}},
    levels={3: {1: Estimate(0.25, 0.1, 0.4, 10)}},
    values={
        "negative_groups": 0.2,
        "ungraded": 0.015,
        "truncated": 0.0,
        "mean_tokens": 12.0,
        "confidence_right": 0.9,
        "confidence_wrong": 0.8,
    },
)
FACTS = {"base": "org/base", "config": "demo", "method": "lens (alpha 0.25)", "data": "ladder", "gain": "+2 points."}


def card(weights: str = "reference", licence: str | None = "mit") -> str:
    return model_card("lens-demo", REPORT, Path("/policies/lens"), weights, licence, FACTS)


def test_card_says_data_method_licence_and_pass_at_k_with_intervals() -> None:
    text = card()
    assert "| Method | lens (alpha 0.25) |" in text
    assert f"| Test data | 50 problems, SHA-256 `{'d' * 64}` |" in text
    assert "| Licence | mit |" in text
    assert "| all | 47.0 [42.0, 52.0] | 66.0 [60.0, 71.0] |\n| level 3 | 25.0 [10.0, 40.0] † | not graded |\n" in text
    assert "† rests on fewer than 30 problems" in text
    assert "| Ungraded | 1.5 % |\n" in text
    assert "| Tokens | 12.0 |\n" in text


def test_card_tells_how_to_load_what_is_where() -> None:
    assert 'folder = "/policies/lens"' in card("reference")
    assert 'download_artifacts("models:/lens-demo@champion")' in card("upload")
    assert "AutoModelForCausalLM.from_pretrained(folder)" in card()
    assert "vllm serve" in card()


def test_card_does_not_invent_a_licence() -> None:
    assert "not stated; that of the base policy applies at least" in card(licence=None)


def test_card_is_one_that_the_hub_can_read() -> None:
    data = ModelCard(card()).data
    assert (data.license, data.pipeline_tag) == ("mit", "text-generation")
    assert [(each.metric_type, each.metric_value) for each in data.eval_results] == [("pass@1", 0.47), ("pass@4", 0.66)]


HOSTILE = "<script>alert(1)</script> [a](javascript:x) `b` | c\n## d *e* $f$ \\"


def test_card_shows_what_others_wrote_and_obeys_nothing() -> None:
    facts = dict.fromkeys(("base", "config", "method", "data"), HOSTILE) | {"gain": "+2 points."}
    report = REPORT.model_copy(update={"model": HOSTILE, "data_digest": HOSTILE})
    text = model_card("lens-demo", report, Path("/policies/lens"), "reference", HOSTILE, facts)
    body = text.split("---\n", 2)[2]
    assert "<script>" not in body
    assert "&lt;script&gt;alert(1)" in body
    for name in ("Method", "Base policy", "Training data", "Configuration", "Licence"):
        (row,) = [line for line in body.splitlines() if line.startswith(f"| {name} |")]
        assert len(re.findall(r"(?<!\\)\|", row)) == 3
        assert not re.search(r"(?<!\\)[`*\[\]]", row)
    titles = [[line for line in each.splitlines() if line.startswith("## ")] for each in (body, card())]
    assert titles[0] == titles[1]
    data = ModelCard(text).data
    assert (data.license, data.tags[-1]) == (HOSTILE, HOSTILE)


@pytest.mark.parametrize(
    "path",
    ['/a"; import os; os.system("x") #', "/a\\n'''\"\"\"", "/a\n```\n<b>", "/ü \U0001f600", "/\udce9", "/a_b*c"],
)
def test_path_stays_a_string_of_the_python_block(path: str) -> None:
    text = model_card("my_lens", REPORT, Path(path), "reference", None, FACTS)
    text.encode("utf-8")
    block = text.split("```python\n")[1].split("\n```")[0]
    (statement,) = ast.parse(block).body
    assert isinstance(statement, ast.Assign)
    assert ast.literal_eval(statement.value) == path
    uploaded = model_card("my_lens", REPORT, Path(path), "upload", None, FACTS)
    assert 'download_artifacts("models:/my_lens@champion")' in uploaded
