"""What may be said of a difference, and how it is said."""

import math

import pytest

from lens_core.evaluation.by_problem import compare_results, verdict
from lens_core.evaluation.verdict import Claim, Finding, large_effects, worded
from tests.unit.evaluation.test_by_problem import evaluation


def finding(mean: float, low: float, high: float, p: float, **others: object) -> Finding:
    return Finding.model_validate(
        {"one": "grpo", "other": "lens", "measure": "Pass@1", "mean": mean, "low": low, "high": high, "p": p}
        | {"pairs": 250, "unit": "problems", "few": False}
        | others
    )


@pytest.mark.parametrize(
    ("found", "claim"),
    [
        (finding(0.02, 0.01, 0.03, 0.01), Claim.BETTER),
        (finding(-0.02, -0.03, -0.01, 0.01), Claim.WORSE),
        (finding(0.02, 0.01, 0.03, 0.05), Claim.OPEN),  # the test does not reject at 5 %
        (finding(0.02, 0.0, 0.03, 0.01), Claim.OPEN),  # the interval reaches 0
        (finding(0.9, 0.8, 1.0, 0.001, few=True), Claim.FEW),
        (finding(0.9, math.nan, math.nan, 1.0, few=True, unit="seeds", pairs=1), Claim.FEW),
    ],
)
def test_claim_needs_test_and_interval_and_pairs_enough(found: Finding, claim: Claim) -> None:
    assert found.claim is claim


def test_wording_groups_policies_by_claim() -> None:
    better = finding(0.0123, 0.003, 0.021, 0.012)
    others = [finding(0.0, -0.01, 0.01, 0.9, other="dapo"), finding(0.001, -0.01, 0.012, 0.7, other="nsr")]
    assert worded([others[0], better, others[1]]) == [
        "lens is better than grpo: Pass@1 +1.2 pp [+0.3, +2.1], p = 0.012 (250 problems).",
        "No significant difference from grpo: dapo Pass@1 +0.0 pp [-1.0, +1.0], p = 0.9; "
        "nsr Pass@1 +0.1 pp [-1.0, +1.2], p = 0.7 (250 problems).",
    ]
    few = finding(0.5, math.nan, math.nan, 1.0, few=True, unit="seeds", pairs=1)
    assert worded([few]) == ["Too few seeds to tell lens from grpo: Pass@1 +50.0 pp, p = 1 (1 seeds)."]


def test_large_effects_are_sure_ones_of_five_points_or_more() -> None:
    levels = [
        finding(-0.13, -0.2, -0.06, 0.01, measure="level 1"),
        finding(0.049, 0.01, 0.08, 0.01, measure="level 2"),
        finding(0.2, -0.1, 0.5, 0.2, measure="level 3"),
    ]
    assert large_effects(levels) == ["lens against grpo by level: level 1 -13.0 pp."]
    assert large_effects(levels[1:]) == []


def test_verdict_on_policies_is_about_policies_and_names_levels() -> None:
    # 80 problems on levels 0 and 1 in turns. Level 0: from none to both correct; level 1: from both to one of two.
    a = evaluation("a", ["--", "++"] * 40)
    b = evaluation("b", ["++", "+-"] * 40)
    found = verdict([compare_results(a, b)])
    assert found.lines[0].startswith("b is better than a: Pass@1 +25.0 pp [")
    assert found.lines[1:] == ("b against a by level: level 0 +100.0 pp, level 1 -50.0 pp.",)
    assert "One training seed says nothing about the methods" in found.scope
    # Turned round it says the opposite, with the same p.
    assert verdict([compare_results(b, a)]).lines[0].startswith("a is worse than b: Pass@1 -25.0 pp [")


def test_verdict_claims_nothing_where_nothing_differs_or_could_be_graded() -> None:
    # 40 differences of 0, and -1 and 1: sem sqrt(2 / 41 / 42) = 0.0341, times t(41) = 2.0195.
    same = evaluation("a", ["+-"] * 40), evaluation("b", ["-+"] * 40)
    assert verdict([compare_results(*same)]).lines == (
        "No significant difference between b and a: Pass@1 +0.0 pp [-6.9, +6.9], p = 1 (40 problems).",
    )
    nothing = compare_results(evaluation("a", ["??"] * 40), evaluation("b", ["++"] * 40), {"seed": (0, 1)})
    assert verdict([nothing]).lines == (
        "Too few completions could be graded to compare b and a.",
        "The completions were drawn with other settings: seed.",
    )
