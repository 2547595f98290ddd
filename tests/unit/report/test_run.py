import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest

from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import Completion, PassKReport, ProblemResult
from lens_core.report import plots
from lens_core.report.run import answer, render_report


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


def test_answer_names_no_winner_where_intervals_overlap() -> None:
    said = answer(REPORTS)
    assert said == (
        "No clear winner, as the intervals of lens and grpo overlap: lens reaches Pass@1 40.0 % [35.0, 45.0], "
        "grpo 35.0 % [30.0, 40.0] and base 15.0 % [10.0, 20.0]."
    )


def test_answer_names_a_winner_where_they_do_not() -> None:
    assert "grpo is the clear winner" in answer([report("base", 0.1, 0.2), report("grpo", 0.3, 0.4)])


def test_answer_of_a_single_model_compares_nothing() -> None:
    assert answer([report("base", 0.1, 0.2)]) == "base reaches Pass@1 15.0 % [10.0, 20.0]."


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
    assert "Too few answers of lens could be graded to estimate Pass@1." in page
    assert answer([ungraded("lens")]) == "Too few answers of lens could be graded to estimate Pass@1."


def test_answer_names_no_winner_across_different_data() -> None:
    other = report("grpo", 0.3, 0.4).model_copy(update={"data_digest": "e"})
    said = answer([report("base", 0.1, 0.2), other])
    assert said.startswith("Measured on different data, so that no winner is named: grpo reaches Pass@1 35.0 %")
    assert "clear winner" not in said


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
