"""What others wrote reaches a terminal as they wrote it: Rich obeys none of it, and control characters can be seen."""

import io
from dataclasses import replace
from typing import Any

import pytest

from lens_core.cli import tables
from lens_core.cli.console import PlainConsole
from lens_core.cli.display import Display
from lens_core.cli.doctor import Check
from lens_core.cli.output import conclude, say
from lens_core.cli.visible import visible
from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.records import PassKReport
from lens_core.progress import Progress
from lens_core.tracking import RunRow

HOSTILE = "s[/b] [red]x[/red] :bomb: \x1b[31m\x9b31m\u202e it's"
SHOWN = r"s[/b] [red]x[/red] :bomb: \x1b[31m\x9b31m\u202e it's"
REPORT = PassKReport(
    model=HOSTILE,
    data_digest="d" * 64,
    n=8,
    ks=(1,),
    problems=50,
    by_k={"pass_at": {1: Estimate(0.47, 0.42, 0.52, 50)}},
    levels={},
    values={},
)
ROW = RunRow("0123456789", HOSTILE, HOSTILE, 0, HOSTILE, HOSTILE, 0.0, 1.0, {HOSTILE: HOSTILE}, {HOSTILE: 1.0})


def test_control_characters_can_be_seen_and_lines_stay_lines() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("a\tb\nc\r\0\udce9") == "a\tb\nc\\r\\x00\\udce9"
    assert visible("plain ünïcode 日本 †") == "plain ünïcode 日本 †"


@pytest.mark.parametrize(
    "show",
    [
        lambda: tables.print_tables([REPORT]),
        lambda: tables.print_evaluation(REPORT),
        lambda: tables.print_runs([ROW]),
        lambda: tables.print_two_runs(ROW, replace(ROW, params={HOSTILE: "other"})),
        lambda: tables.print_checks([Check(HOSTILE, "broken", HOSTILE, HOSTILE)]),
        lambda: tables.print_plan({HOSTILE: {HOSTILE: HOSTILE}}),
        lambda: tables.print_sweep(
            {"target": HOSTILE, "trials": [{"value": None, "status": HOSTILE, "values": {"a": HOSTILE}, "history": []}]}
        ),
        lambda: say(HOSTILE),
        lambda: conclude({}, HOSTILE),
    ],
)
def test_text_of_others_is_shown_and_not_obeyed(show: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show()
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x9b" not in printed
    assert "\u202e" not in printed
    unwrapped = "".join(printed.translate(str.maketrans("", "", "│┃ \n")))
    assert all(word in unwrapped for word in SHOWN.split())


def test_progress_shows_names_as_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(HOSTILE, 1, 2, f"{HOSTILE}\nnext", ({"trial": HOSTILE},))
    with Display() as display:
        display(progress)
    assert SHOWN in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "400")
    with Display() as display:
        display(progress)
    shown = capsys.readouterr().out
    assert shown.count(SHOWN) >= 3
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


def test_terminal_keeps_its_colours() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    PlainConsole(file=file).print("[b]x[/b]", style="red")
    assert "[b]x[/b]" in file.getvalue()
    assert "\x1b[" in file.getvalue()
