import pytest

from lens_core.progress import Display, Progress, parse_marked, print_marked

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


def test_without_a_terminal_each_tenth_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        for done in range(101):
            display(Progress("train", done, 100, ""))
    assert len(capsys.readouterr().out.splitlines()) == 11


def test_terminal_shows_what_a_stage_does_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = ({"trial": "a1", "Pass@1": "31.0 %"}, {"trial": "b2", "Pass@1": "29.5 %"})
    with Display() as display:
        display(Progress("sweep", 1, 4, "best 31.0 %", rows))
    shown = capsys.readouterr().out
    assert shown.index("best 31.0 %") < shown.index("Pass@1") < shown.index("a1") < shown.index("29.5 %")
