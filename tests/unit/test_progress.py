import pytest

from lens_core.progress import Display, Progress, parse_marked, print_marked

STEP = Progress("train lens", 3, 10, "reward 0.31")


def test_progress_survives_the_way_through_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_marked(STEP)
    assert parse_marked("    " + capsys.readouterr().out) == STEP


def test_other_lines_are_no_progress() -> None:
    assert parse_marked("INFO: step 3") is None
    assert parse_marked('lens-progress {"stage": "a"') is None
    assert parse_marked('lens-progress {"stage": "a"}') is None


def test_without_a_terminal_each_tenth_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        for done in range(101):
            display(Progress("train", done, 100, ""))
    assert len(capsys.readouterr().out.splitlines()) == 11
