"""The verdict of a study is about methods, over seeds."""

from typing import Any

from lens_core.report.study import verdict


def study(seeds: int, p: float, levels: dict[str, float] | None = None) -> dict[str, Any]:
    def of(difference: float) -> dict[str, Any]:
        mean = {"mean": difference, "low": difference - 0.01, "high": difference + 0.01, "seeds": seeds}
        reference = {"mean": {"mean": 0.4, "low": 0.39, "high": 0.41, "seeds": seeds}}
        return {"grpo": reference, "lens": {"mean": mean, "difference": {"mean": mean, "p": p, "p_holm": p}}}

    by_level = {} if levels is None else {level: of(difference) for level, difference in levels.items()}
    return {"reference": "grpo", "seeds": list(range(seeds)), "pass_at_k": {"1": of(0.02)}, "levels": by_level}


def test_significant_difference_over_seeds_is_one_of_the_methods() -> None:
    found = verdict(study(8, 0.008, {"1": -0.13, "2": 0.04}))
    assert found.lines == (
        "lens is better than grpo: Pass@1 +2.0 pp [+1.0, +3.0], p = 0.008 (8 seeds).",
        "grpo reaches Pass@1 40.0 %, the mean of 8 seeds.",
        "lens against grpo by level: level 1 -13.0 pp.",
    )
    assert found.scope == "This is a statement about these methods in this recipe on these problems, over 8 seeds."


def test_few_seeds_claim_nothing() -> None:
    # The smallest p of a two-sided sign-flip test over three seeds is 2 / 2^3.
    found = verdict(study(3, 0.25))
    assert found.lines[0].startswith("Too few seeds to tell lens from grpo: ")
    assert found.lines[-1] == "With 3 seeds no difference can be significant: the smallest corrected p is 0.25."


def test_study_without_its_reference_compares_nothing() -> None:
    found = study(8, 0.008)
    del found["pass_at_k"]["1"]["grpo"]
    assert verdict(found).text == "No training of grpo was evaluated: there is nothing to compare with."
