"""Where a comparison goes."""

from pathlib import Path

import pytest

from lens_core.config import load_config
from lens_core.errors import LensError
from lens_core.evaluation.folder import Design, settings_of
from lens_core.files import write_json
from lens_core.stages.comparison import compare_evaluations
from tests.helpers.results import evaluation_in


def evaluation(folder: Path, label: str) -> Path:
    made = evaluation_in(folder, label, (1, 2, 3))
    settings = settings_of(load_config("demo").evaluation, "transformers")
    design = Design(model="m", model_identity="i", data="d", data_digest="d" * 64, settings=settings)
    write_json(made / "evaluation.json", design.model_dump(mode="json"))
    return made


@pytest.mark.parametrize("label", ["../../escaped", "/escaped", "a/b", "s[/b]", "\x1b[31m", ".."])
def test_label_of_others_makes_no_folder_elsewhere(label: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "deep" / "er"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    one, other = evaluation(work / "one", label), evaluation(work / "other", "plain")
    before = sorted(tmp_path.rglob("*"))
    for pair in ((one, other), (other, one)):
        with pytest.raises(LensError, match=r"the label in passk\.json .* is no name"):
            compare_evaluations(*pair)
    assert sorted(tmp_path.rglob("*")) == before
    _, folder = compare_evaluations(one, other, work / "named")
    assert folder == work / "named"


def test_comparison_is_named_after_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, folder = compare_evaluations(evaluation(tmp_path / "one", "a"), evaluation(tmp_path / "other", "b"))
    assert folder == Path("comparisons/a-vs-b")
    assert (folder / "report.html").is_file()
