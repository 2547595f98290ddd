import importlib.metadata
from collections.abc import Iterator

import psutil
import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.verify import Grader, Outcome
from lens_core.verify.plugin import find_verifier, grader_for
from lens_core.verify.reward import VerifierReward

OURS = "tests.helpers.verifiers"


def test_verifier_by_import_path_grades_and_its_crash_is_ungraded() -> None:
    reward = VerifierReward(f"{OURS}:same_text")
    assert reward.__name__ == "same_text"
    assert reward(["a", "b", "crash"], answer=["a", "a", "a"]) == [1.0, 0.0, None]
    assert grader_for(f"{OURS}:same_text").start("crash", "a").result().reason == (
        "the verifier failed: RuntimeError: no sandbox"
    )


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[Grader]:
    with Grader(timeout_s=2.5, verifier=f"{OURS}:misbehaves") as grader:
        yield grader


@pytest.mark.parametrize(
    ("completion", "outcome", "reason"),
    [
        ("endless", "ungraded", "time-out after 2.5 s"),
        ("exits", "ungraded", "the grader died (exit code 0)"),
        ("dies", "ungraded", "the grader died (exit code -9)"),
        ("fills the memory", "ungraded", "the verifier failed: MemoryError"),
        ("prints", "correct", "equal"),
        ("reads", "correct", "equal"),
        ("surrogate", "correct", "?"),
        ("other types", "ungraded", "the verifier failed: ValueError: 'right' is not a valid Outcome"),
    ],
)
def test_whatever_a_verifier_does_the_next_answer_is_graded(
    misbehaving: Grader, completion: str, outcome: str, reason: str
) -> None:
    verdict, after = misbehaving.grade_many([(completion, "a"), (f"not {completion}", "a")])
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert after.outcome is Outcome.CORRECT


def test_verifier_that_takes_away_the_alarm_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lens_core.verify.grader._GRACE_S", 0.5)
    with Grader(timeout_s=0.5, verifier=f"{OURS}:misbehaves") as grader:
        verdict, after = grader.grade_many([("endless, with a time-out of its own", "a"), ("a", "a")])
    assert (verdict.outcome, verdict.reason) == (Outcome.UNGRADED, "time-out after 0.5 s")
    assert after.outcome is Outcome.CORRECT


def test_what_a_verifier_has_started_ends_with_it() -> None:
    with Grader(timeout_s=0.5, verifier=f"{OURS}:misbehaves") as grader:
        assert grader.grade("starts", "a").outcome is Outcome.UNGRADED
    mine = [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "601"]]
    assert psutil.wait_procs(mine, timeout=10)[1] == []


def test_verdict_of_another_type_is_ungraded() -> None:
    (verdict,) = grader_for(f"{OURS}:returns_a_number").grade_many([("a", "a")])
    assert verdict.outcome is Outcome.UNGRADED
    assert verdict.reason == "the verifier returned float, not a lens_core.verify.Verdict"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maths", "'maths' is no verifier; choose from math, or give package.module:function"),
        ("no_such_module:f", "verifier 'no_such_module:f' cannot be imported: ModuleNotFoundError"),
        ("two words:f", "'two words:f' is no verifier"),
        (f"{OURS}:missing", f"verifier '{OURS}:missing' is not there: module '{OURS}' has no 'missing'"),
        (f"{OURS}:NOT_A_FUNCTION", f"verifier '{OURS}:NOT_A_FUNCTION' is a int, not a function"),
    ],
)
def test_unknown_verifier_is_refused_on_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        find_verifier(name)
    assert str(error.value).startswith(message)


def test_entry_point_offers_a_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = importlib.metadata.EntryPoint("texts", f"{OURS}:same_text", "lens_grpo.verifiers")
    monkeypatch.setattr("lens_core.verify.plugin.entry_points", lambda group: importlib.metadata.EntryPoints([offered]))
    verify = find_verifier("texts")
    assert verify is not None
    assert verify("a", "a").outcome is Outcome.CORRECT


def test_configuration_takes_one_verifier_for_training_and_evaluation() -> None:
    name = f"{OURS}:same_text"
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
    assert verdicts[0].found_by == "pattern"
    assert VerifierReward("math", "Result: (.+)")(["Result: 4"], answer=["4"]) == [1.0]


def test_pattern_that_takes_for_ever_is_cut_off_and_the_next_answer_is_graded() -> None:
    with Grader(timeout_s=0.5, answer_pattern="((?:a+)+)$") as grader:
        endless, after = grader.grade_many([("a" * 40 + "!", "1"), ("it is aaa", "aaa")])
    assert (endless.outcome, endless.extracted, endless.reason) == (Outcome.WRONG, None, "time-out after 0.5 s")
    assert (after.outcome, after.extracted) == (Outcome.CORRECT, "aaa")


def test_pattern_that_finds_too_much_is_wrong() -> None:
    (verdict,) = grader_for("math", "<answer>(.*?)</answer>").grade_many([(f"<answer>{'1' * 3000}</answer>", "3")])
    assert (verdict.outcome, verdict.extracted) == (Outcome.WRONG, "1" * 100 + "...")


@pytest.mark.parametrize("pattern", ["(" * 5000 + ")" * 5000, "(a{99999999999999999999})"], ids=["nested", "counted"])
def test_pattern_that_cannot_be_compiled_is_refused_on_one_line(pattern: str) -> None:
    with pytest.raises(LensError, match="no regular expression"):
        load_config("demo", [f"train.answer_pattern='{pattern}'", f"evaluation.answer_pattern='{pattern}'"])


def test_answer_pattern_without_a_group_is_refused() -> None:
    for pattern, reason in (("answer", "no group"), ("(", "no regular expression")):
        with pytest.raises(LensError, match=reason):
            load_config("demo", [f"train.answer_pattern='{pattern}'", f"evaluation.answer_pattern='{pattern}'"])
    with pytest.raises(LensError, match=r"train\.answer_pattern .* must be the same"):
        load_config("demo", ["train.answer_pattern='A(.)'"])


def test_run_that_trains_leniently_says_how_it_is_evaluated() -> None:
    lenient = "train.extraction=lenient"
    with pytest.raises(LensError, match=r"train\.extraction is lenient, and the evaluation would be strict"):
        load_config("demo", [lenient])
    for mode in ("lenient", "strict"):
        assert load_config("demo", [lenient, f"evaluation.extraction={mode}"]).evaluation.extraction == mode
    plain = load_config("demo", [lenient, "train.prompt.form=plain"])  # nobody asks for a box
    assert (plain.train.extraction, plain.evaluation.extraction) == ("lenient", None)
    assert load_config("demo", []).train.extraction == "strict"
