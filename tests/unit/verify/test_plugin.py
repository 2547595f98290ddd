import importlib.metadata

import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.verify import Outcome, Verdict
from lens_core.verify.plugin import find_verifier, grader_for
from lens_core.verify.reward import VerifierReward

HERE = "tests.unit.verify.test_plugin"


def same_text(completion: str, answer: str) -> Verdict:
    if completion == "crash":
        raise RuntimeError("no sandbox")
    right = completion == answer
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, completion, "equal" if right else "not equal")


def returns_a_number(completion: str, answer: str) -> float:
    return 1.0


NOT_A_FUNCTION = 3


def test_verifier_by_import_path_grades_and_its_crash_is_ungraded() -> None:
    reward = VerifierReward(f"{HERE}:same_text")
    assert reward.__name__ == "same_text"
    assert reward(["a", "b", "crash"], answer=["a", "a", "a"]) == [1.0, 0.0, None]
    assert grader_for(f"{HERE}:same_text").start("crash", "a").result().reason == (
        "the verifier failed: RuntimeError: no sandbox"
    )


def test_verdict_of_another_type_is_ungraded() -> None:
    (verdict,) = grader_for(f"{HERE}:returns_a_number").grade_many([("a", "a")])
    assert verdict.outcome is Outcome.UNGRADED
    assert verdict.reason == "the verifier returned float, not a lens_core.verify.Verdict"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maths", "'maths' is no verifier; choose from math, or give package.module:function"),
        ("no_such_module:f", "verifier 'no_such_module:f' cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:missing", f"verifier '{HERE}:missing' is not there: module '{HERE}' has no 'missing'"),
        (f"{HERE}:NOT_A_FUNCTION", f"verifier '{HERE}:NOT_A_FUNCTION' is a int, not a function"),
    ],
)
def test_unknown_verifier_is_refused_on_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        find_verifier(name)
    assert str(error.value).startswith(message)


def test_entry_point_offers_a_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = importlib.metadata.EntryPoint("texts", f"{HERE}:same_text", "lens_grpo.verifiers")
    monkeypatch.setattr("lens_core.verify.plugin.entry_points", lambda group: importlib.metadata.EntryPoints([offered]))
    verify = find_verifier("texts")
    assert verify is not None
    assert verify("a", "a").outcome is Outcome.CORRECT


def test_configuration_takes_one_verifier_for_training_and_evaluation() -> None:
    name = f"{HERE}:same_text"
    config = load_config("demo", [f"train.verifier={name}", f"evaluation.verifier={name}"])
    assert (config.train.verifier, config.evaluation.verifier) == (name, name)
    with pytest.raises(LensError, match=r"train\.verifier .* and evaluation\.verifier 'math' must be the same"):
        load_config("demo", [f"train.verifier={name}"])
    with pytest.raises(LensError, match="'maths' is no verifier"):
        load_config("demo", ["train.verifier=maths", "evaluation.verifier=maths"])


def test_answer_pattern_says_where_the_answer_stands() -> None:
    grader = grader_for("math", "<answer>(.*?)</answer>")
    right = "<answer>3</answer> no, <answer>1/2</answer>, which is not \\boxed{7}"
    verdicts = grader.grade_many([(right, "0.5"), (right, "7"), ("\\boxed{0.5}", "0.5")])
    assert [verdict.outcome for verdict in verdicts] == [Outcome.CORRECT, Outcome.WRONG, Outcome.WRONG]
    assert (verdicts[0].extracted, verdicts[2].reason) == ("1/2", "no answer found")
    assert VerifierReward("math", "Result: (.+)")(["Result: 4"], answer=["4"]) == [1.0]


def test_answer_pattern_without_a_group_is_refused() -> None:
    for pattern, reason in (("answer", "no group"), ("(", "no regular expression")):
        with pytest.raises(LensError, match=reason):
            load_config("demo", [f"train.answer_pattern='{pattern}'", f"evaluation.answer_pattern='{pattern}'"])
    with pytest.raises(LensError, match=r"train\.answer_pattern .* must be the same"):
        load_config("demo", ["train.answer_pattern='A(.)'"])
