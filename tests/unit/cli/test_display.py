import contextlib
import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from lens_core.cli.display import Display, JsonLines, Pace
from lens_core.progress import Progress, parse_marked, print_marked

STEP = Progress("train lens", 3, 10, "reward 0.31")


def test_progress_survives_the_way_through_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_marked(STEP)
    assert parse_marked("    " + capsys.readouterr().out) == STEP
    trials = Progress("sweep", 1, 4, "", ({"trial": "a1"},))
    print_marked(trials)
    assert parse_marked(capsys.readouterr().out) == trials


def test_other_lines_are_no_progress() -> None:
    assert parse_marked("INFO: step 3") is None
    assert parse_marked('lens-progress {"stage": "a"') is None
    assert parse_marked('lens-progress {"stage": "a"}') is None


@pytest.mark.parametrize(
    "fields",
    [
        '"done": 1e999, "total": 2, "text": "", "rows": []',
        f'"done": {"9" * 5000}, "total": 2, "text": "", "rows": []',
        f'"done": {"9" * 50}, "total": 2, "text": "", "rows": []',
        '"done": true, "total": 2, "text": "", "rows": []',
        '"done": "1", "total": 2, "text": "", "rows": []',
        '"done": 1, "total": 2, "text": {}, "rows": []',
        '"done": 1, "total": 2, "text": "", "rows": [1]',
        '"done": 1, "total": 2, "text": "", "rows": [{"a": "b"}, {"c": "d"}]',
        '"done": 1, "total": 2, "text": "", "rows": [{"a": 1}]',
        f'"done": 1, "total": 2, "text": "", "rows": {"[" * 100_000}',
    ],
)
def test_forged_progress_is_none(fields: str) -> None:
    """Whatever a step runs may print it: a verifier, a library, what a policy wrote."""
    assert parse_marked(f'lens-progress {{"stage": "a", {fields}}}') is None


def test_without_a_terminal_each_tenth_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        for done in range(101):
            display(Progress("train", done, 100, ""))
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_time_left_follows_the_pace_of_each_stage() -> None:
    now = iter((0.0, 10.0, 20.0, 30.0, 31.0))
    pace = Pace(lambda: next(now))
    assert pace.left_s(Progress("train", 4, 10, "")) is None  # four were there: they took no time of ours
    assert pace.left_s(Progress("train", 6, 10, "")) == 20.0  # two in 10 s, so that four take 20 s
    assert pace.left_s(Progress("evaluate", 0, 4, "")) is None
    assert pace.left_s(Progress("evaluate", 1, 4, "")) == 30.0  # one in 10 s
    assert pace.left_s(Progress("train", 10, 10, "")) == 0.0


def test_lines_say_how_long_a_stage_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        for done in (0, 1, 2):
            display(Progress("train", done, 2, "reward 0.5"))
    started, half, ended = capsys.readouterr().out.splitlines()
    assert re.search(r"reward 0\.5, 0:01 left$", half)  # less than a second
    assert started.endswith("reward 0.5")
    assert ended.endswith("reward 0.5")


def test_terminal_wraps_what_it_has_no_room_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Display() as display:
        display(Progress("train lens", 3, 80, "reward 0.31, negative groups 25%, 4,321 tokens/s, 0.56 s/step"))
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "0.56 s/step" in shown


def test_terminal_shows_what_a_stage_does_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = ({"trial": "a1", "Pass@1": "31.0 %"}, {"trial": "b2", "Pass@1": "29.5 %"})
    with Display() as display:
        display(Progress("sweep", 1, 4, "best 31.0 %", rows))
    shown = capsys.readouterr().out
    assert shown.index("best 31.0 %") < shown.index("Pass@1") < shown.index("a1") < shown.index("29.5 %")


def test_json_lines_hold_every_progress_and_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    tell, start = JsonLines(), datetime.now(UTC) - timedelta(milliseconds=1)  # times are cut off to milliseconds
    for done in range(3):
        tell(Progress("train lens", done, 3, f"reward 0.{done}"))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["stage"], each["done"], each["total"], each["text"]) for each in told] == [
        ("train lens", 0, 3, "reward 0.0"),
        ("train lens", 1, 3, "reward 0.1"),
        ("train lens", 2, 3, "reward 0.2"),
    ]
    times = [datetime.fromisoformat(each["time"]) for each in told]
    assert start <= times[0] <= times[1] <= times[2] <= datetime.now(UTC)


def test_json_lines_pass_by_a_redirection_that_comes_later(capsys: pytest.CaptureFixture[str]) -> None:
    tell = JsonLines()
    with contextlib.redirect_stdout(io.StringIO()) as log:
        tell(STEP)
    assert log.getvalue() == ""
    assert json.loads(capsys.readouterr().out)["done"] == 3
