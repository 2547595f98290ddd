import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest

from lens_core.evaluation.by_problem import compare_results, verdict
from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.evaluation.verdict import worded
from lens_core.report import plots
from lens_core.report.run import render_report, report_verdict
from tests.helpers import pages


def report(model: str, low: float, high: float, levels: bool = True) -> PassKReport:
    estimate = Estimate((low + high) / 2, low, high, 40)
    return PassKReport(
        model=model,
        data_digest="d",
        n=4,
        ks=(1, 2),
        problems=40,
        by_k={"pass_at": {1: estimate, 2: estimate}},
        levels={1: {1: estimate}, 2: {1: estimate}} if levels else {},
        values={
            "negative_groups": 0.3,
            "ungraded": 0.0,
            "truncated": 0.1,
            "mean_tokens": 20.0,
            "confidence_right": 0.8,
            "confidence_wrong": None,
        },
    )


def sample(text: str) -> ProblemResult:
    completion = Completion(
        text=text, outcome="wrong", reason="not equal", extracted=None, confidence=0.5, tokens=3, truncated=False
    )
    return ProblemResult(
        problem="p", prompt="<b>1 < 2</b>", answer="1", level=None, subject=None, source="s", completions=(completion,)
    )


HISTORY = [{"step": step, "reward": step / 10, "lens/groups/negative": 0.4} for step in range(1, 11)]
REPORTS = [report("base", 0.1, 0.2), report("grpo", 0.3, 0.4), report("lens", 0.35, 0.45)]


def render(tmp_path: Path, text: str = "\\boxed{1}") -> str:
    samples = {"base": [sample(text)], "lens": [sample(text)]}
    path = render_report(
        "A & B", "What was run.", {"Base": "b"}, REPORTS, {"lens": HISTORY}, samples, tmp_path / "report.html"
    )
    return path.read_text(encoding="utf-8")


def test_report_needs_no_network(tmp_path: Path) -> None:
    page = render(tmp_path)
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:|#)", re.sub(r"xlink:href=\"#[^\"]*\"", "", page))
    assert "@import" not in page
    assert "<script" not in page


def test_report_is_well_formed_and_escapes_what_models_write(tmp_path: Path) -> None:
    page = render(tmp_path, "<script>alert(1)</script>")
    HTMLParser().feed(page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;1 &lt; 2" in page
    assert "<title>A &amp; B</title>" in page


def test_report_draws_what_was_measured_and_nothing_else(tmp_path: Path) -> None:
    page = render(tmp_path)
    drawn = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"pass-at-k", "by-level", "negative-groups", "reward"}
    assert all(path.stat().st_size > 1000 for path in (tmp_path / "plots").iterdir())
    assert set(re.findall(r'<figure id="([a-z-]+)"', page)) == drawn


def test_report_is_the_same_for_the_same_input(tmp_path: Path) -> None:
    assert render(tmp_path / "a") == render(tmp_path / "b")


def test_report_without_levels_has_no_table_of_levels(tmp_path: Path) -> None:
    reports = [report("base", 0.1, 0.2, levels=False)]
    page = render_report("t", "", {}, reports, {}, {"base": [sample("x")]}, tmp_path / "r.html").read_text()
    assert "by level" not in page


def test_verdict_of_a_single_model_compares_nothing() -> None:
    found = report_verdict([report("base", 0.1, 0.2)], [])
    assert found.text == "base reaches Pass@1 15.0 % [10.0, 20.0]."


def test_report_and_comparison_command_say_the_same_of_the_same_completions() -> None:
    found = pages.evaluations()
    pair = compare_results(found["grpo"], found["lens"])
    assert pair.finding is not None
    (line,) = worded([pair.finding])
    assert line in report_verdict([each for each, _ in found.values()], [pair]).lines
    assert line in verdict([pair]).lines


def test_identical_completions_are_shown_once_with_a_count(tmp_path: Path) -> None:
    same, other = sample("\\boxed{1}"), sample("\\boxed{2}")
    completions = (*same.completions * 3, *other.completions)
    result = same.model_copy(update={"completions": completions})
    path = render_report("t", "", {}, REPORTS[:1], {}, {"base": [result]}, tmp_path / "r.html")
    page = path.read_text(encoding="utf-8")
    assert page.count("\\boxed{1}") == 1
    assert page.count("<strong>× 3</strong>") == 1
    assert page.count("\\boxed{2}") == 1


def test_page_in_markdown_lies_beside_the_report(tmp_path: Path) -> None:
    pages.run_page(tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# LENS run demo-0a1b2c3d\n\n**Too few problems to tell lens from grpo: Pass@1 ")
    assert len(text.splitlines()) < 60
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert "| lens − grpo |" in text
    assert all(line.endswith("|") for line in tables)
    assert "One training seed says nothing about the methods" in text


def test_rescued_tokens_stand_beside_how_much_they_count(tmp_path: Path) -> None:
    history = [
        {"step": step, "lens/tokens/rescued": 0.4}
        | {"lens/advantage_rms/negative": 0.001, "lens/advantage_rms/mixed": 1.0}
        for step in range(1, 5)
    ]
    page = render_report("t", "", {}, REPORTS, {"lens": history}, {}, tmp_path / "r.html").read_text()
    assert "lens: 40 % of the tokens, with 0.001 against 1 (0.1 % as large)." in page


def test_many_cut_off_completions_are_warned_of_with_the_value_to_change(tmp_path: Path) -> None:
    values = {**REPORTS[0].values, "truncated": 0.45}
    cut = REPORTS[0].model_copy(update={"values": values})
    page = render_report("t", "", {}, [cut], {}, {}, tmp_path / "r.html").read_text()
    assert "45 % of the completions of base were cut off" in page
    assert "Raise evaluation.max_new_tokens" in page
    whole = render_report("t", "", {}, REPORTS, {}, {}, tmp_path / "whole.html").read_text()
    assert "were cut off" not in whole  # a tenth is no more than a tenth


def test_words_of_the_page_are_defined_on_it(tmp_path: Path) -> None:
    page = render(tmp_path)
    for word in ("Pass@k", "ECE", "Ungraded", "All-wrong (negative), mixed group", "Rescued tokens", "pp"):
        assert f"<dt>{word}</dt>" in page


def test_second_method_is_drawn_as_its_difference_to_the_first() -> None:
    histories = {
        "grpo": [{"step": step, "reward": 0.5} for step in (1, 2, 3)],
        "lens": [{"step": step, "reward": 0.75} for step in (2, 3, 4)],
    }
    figure = plots.over_steps(histories, {"reward": "-"}, "", plots.colours(["grpo", "lens"]))
    assert figure is not None
    _, below = figure.axes
    zero, difference = below.lines
    assert list(zero.get_ydata()) == [0, 0]
    assert (list(difference.get_xdata()), list(difference.get_ydata())) == ([2, 3], [0.25, 0.25])


@pytest.mark.parametrize("label", ["lens-alpha-1", "my method", "$\\bad$", "<b>"])
def test_any_label_gets_a_colour(tmp_path: Path, label: str) -> None:
    render_report("t", "", {}, [report(label, 0.1, 0.2)], {label: HISTORY}, {label: [sample("x")]}, tmp_path / "r.html")
    assert (tmp_path / "plots" / "reward.png").exists()


def ungraded(model: str) -> PassKReport:
    return report(model, 0.1, 0.2).model_copy(update={"by_k": {"pass_at": {}}, "levels": {1: {}, 2: {}}})


def test_report_says_where_ungraded_answers_leave_no_estimate(tmp_path: Path) -> None:
    reports = [report("base", 0.1, 0.2), ungraded("lens")]
    page = render_report("t", "", {}, reports, {}, {}, tmp_path / "r.html").read_text()
    assert page.count("not graded") == 4  # Pass@1, Pass@2, and Pass@1 at both levels
    assert "Too few completions of lens could be graded to estimate Pass@1." in page
    found = report_verdict([ungraded("lens")], [])
    assert found.text == "Too few completions of lens could be graded to estimate Pass@1."


def test_policies_on_different_problems_are_not_compared() -> None:
    other = report("grpo", 0.3, 0.4).model_copy(update={"data_digest": "e"})
    found = report_verdict([report("base", 0.1, 0.2), other], [])
    assert found.text == "Policies that were evaluated on different problems are not compared."


def test_curve_leaves_out_what_is_not_a_number() -> None:
    nan = float("nan")
    history = [{"step": 1, "reward": 1.0}, {"step": 2, "reward": nan}, {"step": 3, "reward": 4.0}, {"step": 4}]
    figure = plots.over_steps({"lens": history}, {"reward": "-"}, "", plots.colours(["lens"]))
    assert figure is not None
    raw, smooth = figure.axes[0].lines
    assert list(raw.get_xdata()) == [1, 3]
    assert list(smooth.get_ydata()) == [2.5, 2.5]  # both within one window: (1 + 4) / 2
    assert plots.over_steps({"lens": history[1:2]}, {"reward": "-"}, "", plots.colours(["lens"])) is None


def test_method_has_one_colour_in_every_plot(tmp_path: Path) -> None:
    # "my-base" has no history; it must not move "lens-a" along the cycle where it is absent.
    reports = [report("my-base", 0.1, 0.2), report("lens-a", 0.3, 0.4)]
    page = render_report("t", "", {}, reports, {"lens-a": HISTORY}, {}, tmp_path / "r.html").read_text()
    reward = page[page.index('<figure id="reward"') :]
    assert plots.colours(["my-base", "lens-a"])["lens-a"] in reward
    assert plots.colours(["my-base", "lens-a"])["my-base"] not in reward


def test_ids_are_unique_in_the_page(tmp_path: Path) -> None:
    ids = re.findall(r'\bid="([^"]+)"', render(tmp_path))
    assert len(ids) == len(set(ids))


def test_settings_of_the_working_directory_do_not_reach_a_report(tmp_path: Path) -> None:
    """A file `matplotlibrc` in a downloaded folder; LaTeX is most often not even there, and the report would fail."""
    with matplotlib.rc_context({"text.usetex": True, "figure.facecolor": "red"}):
        page = render(tmp_path)
        assert matplotlib.rcParams["text.usetex"] is True
    assert page == render(tmp_path)
