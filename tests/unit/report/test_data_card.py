import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lens_core.cli.main import app
from lens_core.config import DataConfig, SourceConfig
from lens_core.data.prepare import prepare
from lens_core.errors import LensError
from lens_core.report.data_card import render_card

LADDER = SourceConfig(kind="ladder", per_level=20, seed=1)


def card(folder: Path, config: DataConfig) -> str:
    prepare(config, folder)
    return render_card(folder, "Data of <b>a run</b>").read_text(encoding="utf-8")


def test_card_says_what_the_summary_says(tmp_path: Path) -> None:
    rows = [{"problem": f"Find {i} <script>", "answer": "1", "level": 2, "type": "Algebra"} for i in range(1234)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows[:7]]))
    source = SourceConfig(kind="math", path=str(tmp_path / "m.jsonl"), limit=2000)
    page = card(tmp_path / "out", DataConfig(train=source, test=LADDER))
    summary = json.loads((tmp_path / "out" / "data.json").read_text())
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "1,234 problems to train on, 100 to evaluate on" in text
    assert "was asked for 2,000 problems and has 1,234" in text
    assert "training math MIT 1,241 2,000 1,234" in text
    assert "prompt had come before in the same split 7" in text
    assert summary["train_digest"] in page
    for value in ("Algebra", "arithmetic", "ladder"):
        assert value in text
    assert "<script>" not in page
    assert "Data of &lt;b&gt;a run" in page


def test_card_shows_removed_pairs_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = card(tmp_path, DataConfig(train=LADDER, test=SourceConfig(kind="ladder", per_level=5, seed=1)))
    assert "25 of 25; all are in removed.jsonl" in page
    assert page.count("<strong>evaluation</strong>") == 25
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    HTMLParser().feed(page)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["levels.png"]  # all prompts are short


def test_card_without_levels_subjects_or_removals_leaves_them_out(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text(
        "".join(json.dumps({"question": f"Q{i}", "answer": "1"}) + "\n" for i in range(9))
    )
    page = card(tmp_path / "out", DataConfig(train=SourceConfig(kind="gsm8k", path=str(tmp_path / "g.jsonl"))))
    assert "by level" not in page
    assert "by subject" not in page
    assert "Training problems that are evaluation problems" not in page


def test_card_command_writes_the_card_again_and_names_a_folder_without_data(tmp_path: Path) -> None:
    prepare(DataConfig(train=LADDER, format="parquet"), tmp_path)
    done = CliRunner().invoke(app, ["data", "card", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data_card.html").exists()
    with pytest.raises(LensError, match="holds no prepared data"):
        render_card(tmp_path / "plots", "x")
