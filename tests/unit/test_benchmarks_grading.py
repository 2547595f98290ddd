"""The grading benchmark: its counts, the pairs that are kept out, and that its attacks are attacks."""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from benchmarks import grading_attack, grading_cases
from benchmarks.grading_attack import CONTENTS, DECORATIONS, GOLDS, Gold, Seen
from benchmarks.grading_cases import KEPT_OUT, Case
from benchmarks.grading_graders import MODES, Mode
from benchmarks.grading_tables import Rate, print_tallies, tally
from lens_core.verify import Grader, Outcome

C, W, U = Outcome.CORRECT, Outcome.WRONG, Outcome.UNGRADED
INTEGER = GOLDS[0]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.025**0.1),  # Clopper and Pearson's closed form where nothing, or everything, is hit
        (10, 10, 0.025**0.1, 1.0),
        (1, 10, 0.0025, 0.4450),  # their table
    ],
)
def test_rates_have_clopper_and_pearsons_interval(hits: int, trials: int, low: float, high: float) -> None:
    assert Rate(hits, trials).interval == pytest.approx((low, high), abs=5e-5)


def test_rates_are_printed_with_their_counts() -> None:
    assert str(Rate(1, 10)) == "1 of 10, 10.0% [0.3%, 44.5%]"
    assert str(Rate(0, 0)) == "0 of 0"


def case(expected: bool | None, in_prose: bool = False) -> Case:
    return Case("numbers", "1", "", expected, in_prose)


def test_tally_counts_accepts_of_incorrect_and_rejects_of_correct_answers() -> None:
    cases = [case(True), case(True), case(True), case(False), case(False), case(None), case(None)]
    found = tally(cases, [C, W, U, C, U, W, U])
    assert found.wrong == Rate(4, 7)  # W and U for correct ones, C for an incorrect one, W for what cannot be told
    assert found.false_accepts == Rate(1, 2)
    assert found.false_rejects == Rate(2, 3)
    assert found.ungraded == 3


def test_tally_of_a_strict_grader_wants_answers_in_prose_rejected() -> None:
    cases = [case(True, in_prose=True), case(True)]
    assert tally(cases, [C, C]).wrong == Rate(0, 2)
    assert tally(cases, [C, C], reads_prose=False).wrong == Rate(1, 2)
    assert tally(cases, [W, C], reads_prose=False).wrong == Rate(0, 2)


def test_table_has_counts_beside_rates_and_a_row_for_each_grader(capsys: pytest.CaptureFixture[str]) -> None:
    found = tally([case(True), case(False)], [W, W])
    print_tallies("Kept out", {"ours": found, "theirs": found}, {"ours": 1.5, "theirs": 20.0})
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["ours", "theirs"]
    for row in rows:
        assert "1 of 2, 50.0%" in row
        assert "0 of 1, 0.0%" in row
        assert "1 of 1, 100.0%" in row
    assert "1.50" in rows[0]


def bare(text: str) -> str:
    return re.sub(r"[\s${}]|\\(?:boxed|left|right|displaystyle)", "", text)


def test_kept_out_pairs_are_none_that_rules_were_mended_on() -> None:
    kept_out = [(bare(each.gold), bare(each.completion)) for each in grading_cases.kept_out()]
    assert len(kept_out) >= 300
    assert [pair for pair, times in Counter(kept_out).items() if times > 1] == []
    assert set(kept_out) & {(bare(each.gold), bare(each.completion)) for each in grading_cases.mended()} == set()


def test_kept_out_pairs_say_where_they_come_from_and_where_the_answer_stands() -> None:
    for line in KEPT_OUT.open(encoding="utf-8"):
        row = json.loads(line)
        assert row["source"]
        assert isinstance(row["expected"], bool)
        if row.get("in_prose"):
            assert row["expected"]
            assert not re.search(r"\\boxed|####|<answer>", row["completion"])


def accepting(accepts: Callable[[str, str], bool]) -> grading_attack.Judge:
    """A grader that says no more than whether it accepts."""

    def judge(pairs: Sequence[tuple[str, str]]) -> list[Seen]:
        return [Seen(C if accepts(completion, gold) else W, None) for completion, gold in pairs]

    return judge


def test_attack_draws_the_same_distinct_edits_from_the_same_seed() -> None:
    judge = accepting(lambda completion, gold: len(completion) % 3 == 0)
    first, again, other = (
        [one.completion for one, _ in grading_attack.search(INTEGER, judge, 200, seed)] for seed in (0, 0, 1)
    )
    assert first == again != other
    assert len(set(first)) == 200


def test_attack_finds_the_hole_of_a_grader_and_goes_back_to_it() -> None:
    hole = re.compile(r"\\(?:footnote|phantom|sout|tag)")  # about one edit in fifty, when the arms are drawn at random
    judge = accepting(lambda completion, gold: hole.search(completion) is not None)
    found = [seen.outcome is C for _, seen in grading_attack.search(INTEGER, judge, 600)]
    assert sum(found[-200:]) > 2 * sum(found[:200]) > 0


def test_attack_gets_nothing_from_a_grader_that_wants_the_answer_alone() -> None:
    judge = accepting(lambda completion, gold: completion == f"\\boxed{{{gold}}}")
    for gold in GOLDS:
        assert all(seen.outcome is W for _, seen in grading_attack.search(gold, judge, 100))


def test_every_kind_of_edit_has_completions_and_every_gold_answer_kinds() -> None:
    kinds = grading_attack.variants(each=1)
    assert len(kinds) == 31
    assert all(kinds.values())
    assert {one.gold for made in kinds.values() for one in made} == {gold.answer for gold in GOLDS}


@pytest.mark.parametrize("gold", GOLDS, ids=lambda gold: gold.kind)
def test_no_content_is_the_gold_answer_however_it_is_written(gold: Gold) -> None:
    draw = random.Random(0)
    for content in CONTENTS.values():
        for decorate in DECORATIONS.values():
            for _ in range(20):
                said = content(gold, draw)
                assert said is None or bare(decorate(said)) != bare(gold.answer)


@pytest.mark.xfail(strict=True, reason="the verifier does not withstand the attack yet")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_attack_on_our_verifier_finds_nothing(mode: Mode) -> None:
    # The benchmark's search in small: 12 gold answers with 30 edits each.
    with Grader(workers=1, **mode.arguments) as grader:

        def judge(pairs: Sequence[tuple[str, str]]) -> list[Seen]:
            return [Seen(verdict.outcome, verdict.extracted) for verdict in grader.grade_many(pairs)]

        found = [each for gold in GOLDS for each in grading_attack.search(gold, judge, 30, strict=not mode.reads_prose)]
    assert [one for one, seen in found if seen.outcome is C] == []
