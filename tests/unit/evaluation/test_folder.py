"""Whose an evaluation's folder is, and what a kill leaves of it."""

import json
from pathlib import Path

import pytest

from lens_core.config import EvaluationConfig
from lens_core.data.problem import Problem
from lens_core.errors import LensError
from lens_core.evaluation.folder import Design, append, claim, differing_settings, finished, settings_of
from lens_core.evaluation.records import Completion, ProblemResult

PROBLEMS = [Problem(id=name, prompt="P", answer="1", source="s") for name in "abc"]


def design(**other: object) -> Design:
    settings = settings_of(EvaluationConfig(max_new_tokens=8, ks=(1,)), "transformers")
    fields = {"model": "m", "model_identity": "x", "data": "d.jsonl", "data_digest": "y", "settings": settings}
    return Design.model_validate({**fields, **other})


def result(problem: Problem) -> ProblemResult:
    fields = {"text": "t", "outcome": "wrong", "reason": "r", "extracted": None}
    completion = Completion.model_validate({**fields, "confidence": 0.5, "tokens": 1, "truncated": False})
    return ProblemResult(
        problem=problem.id, prompt="P", answer="1", level=None, subject=None, source="s", completions=(completion,)
    )


def written(folder: Path, problems: list[Problem]) -> Path:
    claim(folder, design())
    assert len(list(append(folder, iter([[result(problem) for problem in problems]])))) == 1
    return folder / "rollouts.jsonl"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"model_identity": "z"}, r"holds the evaluation of another model \(m\): choose another folder"),
        ({"data_digest": "z"}, r"of other problems \(d.jsonl\)"),
        ({"settings": {**design().settings, "temperature": 0.5}}, r"of other settings \(temperature 1.0\)"),
    ],
)
def test_folder_of_another_evaluation_is_refused(tmp_path: Path, other: dict[str, object], message: str) -> None:
    written(tmp_path, PROBLEMS[:1])
    before = (tmp_path / "evaluation.json").read_text()
    with pytest.raises(LensError, match=message):
        claim(tmp_path, design(**other))
    assert (tmp_path / "evaluation.json").read_text() == before
    claim(tmp_path, design())


def test_folder_without_results_may_be_claimed_again(tmp_path: Path) -> None:
    claim(tmp_path, design(model_identity="z"))  # a model that then could not be loaded
    claim(tmp_path, design())
    assert finished(tmp_path, PROBLEMS) == []


def test_results_of_unknown_origin_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text("{}\n")
    with pytest.raises(LensError, match=r"is no evaluation's folder: .*evaluation.json cannot be read"):
        claim(tmp_path, design())


def test_settings_that_completions_do_not_depend_on_may_change() -> None:
    one, other = (EvaluationConfig(max_new_tokens=8, ks=ks, batch_size=size) for ks, size in (((1,), 8), ((1, 2), 16)))
    assert settings_of(one, "vllm") == settings_of(other, "vllm") != settings_of(one, "transformers")


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path, PROBLEMS[:2])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert finished(tmp_path, PROBLEMS) == [result(PROBLEMS[0])]
    list(append(tmp_path, iter([[result(PROBLEMS[1])]])))
    assert path.read_bytes() == whole


def test_results_of_other_problems_and_broken_lines_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, PROBLEMS[1:])
    with pytest.raises(LensError, match="does not hold the results of these problems in their order"):
        finished(tmp_path, PROBLEMS)
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(LensError, match=r"rollouts.jsonl:1 is no result of a problem"):
        finished(tmp_path, PROBLEMS)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").mkdir()
    with pytest.raises(LensError, match=r"cannot be written \(Is a directory\)"):
        next(append(tmp_path, iter([[result(PROBLEMS[0])]])))


def test_setting_that_an_earlier_release_did_not_know_counts_as_its_default(tmp_path: Path) -> None:
    written(tmp_path, PROBLEMS[:1])
    path = tmp_path / "evaluation.json"
    held = json.loads(path.read_text())
    del held["settings"]["verifier"], held["settings"]["prompt"]["form"]
    path.write_text(json.dumps(held))
    claim(tmp_path, design())
    assert json.loads(path.read_text())["settings"] == design().settings
    path.write_text(json.dumps(held))
    other = {**design().settings, "verifier": "nowhere:grade"}
    with pytest.raises(LensError, match=r"of other settings \(verifier math\)"):
        claim(tmp_path, design(settings=other))
    assert differing_settings(design(settings=held["settings"]), design(settings=other)) == {
        "verifier": ("math", "nowhere:grade")
    }


def test_settings_of_a_verifier_that_is_not_here_can_be_compared() -> None:
    one = design(settings={**design().settings, "verifier": "nowhere:grade"})
    assert differing_settings(one, design()) == {"verifier": ("nowhere:grade", "math")}
