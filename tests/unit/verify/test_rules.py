"""Single rules of the verifier, each against its neighbour that must be judged the other way."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lens_core.verify import Outcome, grade
from lens_core.verify.expression import equal
from lens_core.verify.extract import find_answer
from lens_core.verify.normalise import normalise
from lens_core.verify.structure import MAX_DEPTH, TooComplexError, parse
from lens_core.verify.worker import judge


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("\\boxed{1}, then \\boxed{2}", "2"),
        ("\\boxed{1} and \\boxed{2}", "1 , 2"),
        ("\\boxed{1} but \\boxed{2}", "2"),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("so \\boxed{12", None),  # cut off
        ("\\boxed{3}. Wait: \\boxed{12", None),
        ("so $\\boxed{\\frac{1}{2}$.", "\\frac{1}{2}"),  # a slip: the formula ends
        ("\\boxed{4}\nThe final answer is 5.", "5"),
        ("The final answer is 5, so \\boxed{4}", "4"),
        ("the answer is 7", "7"),
        ("the answer is $x$ or $y$", "$x$ or $y$"),
        ("#### 42", "42"),
        ("x = 3, y = 4, 5", "x = 3, y = 4, 5"),  # nothing but an answer
        ("It is 3. It is 4, 5.", "4, 5"),  # the whole list
        ("I do not know.", None),
        ("", None),
    ],
)
def test_find_answer_takes_the_last_commitment_whole(completion: str, answer: str | None) -> None:
    found = find_answer(completion)
    assert (None if found is None else found.text) == answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("\\dfrac12", "\\frac{1}{2}"),
        ("1{,}234{,}567", "1234567"),
        ("12\\,345", "12345"),
        ("32, 349", "32, 349"),
        ("(12,102)", "(12, 102)"),
        ("3\\frac{1}{2}", "(3+\\frac{1}{2})"),
        ("3\\frac{3}{2}", "3\\cdot \\frac{3}{2}"),
        ("3\\frac{x}{2}", "3\\frac{x}{2}"),
        ("1.5e-3", "1.5\\cdot 10^{-3}"),
        ("½", "\\frac{1}{2}"),
        ("３−√2", "3-\\sqrt{2}"),
        ("x²", "x^{2}"),
        ("\\textbf{\\text{blue}}.", "\\text{blue}"),
        ("\\mathbf{12}", "12"),
        ("50 percent", "50\\%"),
        ("\\$18", "18\\text{dollar}"),
    ],
)
def test_normalise_spells_one_way(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.fractions(min_value=-(10**6), max_value=10**6), st.fractions(min_value=-(10**6), max_value=10**6))
def test_fractions_are_equal_exactly_when_their_values_are(a: Fraction, b: Fraction) -> None:
    latex = [f"\\frac{{{value.numerator}}}{{{value.denominator}}}" for value in (a, b)]
    assert equal(*latex) == (a == b)


@given(st.integers(1, 10**6), st.integers(2, 999), st.integers(1, 12))
def test_decimal_stands_for_a_fraction_from_six_digits_on(above: int, below: int, places: int) -> None:
    exact = Fraction(above, below)
    cut = Fraction(int(exact * 10**places), 10**places)
    text = f"{int(cut)}.{int((cut % 1) * 10**places):0{places}d}"
    digits = len(text.replace(".", "").lstrip("0"))
    rounded = exact.denominator != 1 and digits >= 6
    assert equal(f"\\frac{{{above}}}{{{below}}}", text) == (cut == exact or rounded)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"),
        ("1", "1 + 10^{-40}\\sqrt{2}"),
        ("2^{1000}\\sqrt{2}", "2^{1000}\\sqrt{2} + 1"),
        ("\\sqrt{x^2}", "x"),
        ("\\frac{29}{4}", "\\infty x"),
        ("x(x-1)(x-2)", "x(x-1)(x-2) + 10^{-9}"),
    ],
)
def test_values_that_floats_cannot_tell_apart_differ(gold: str, answer: str) -> None:
    assert not equal(gold, answer)


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("50\\%", "0.5", "5"),
        ("0.5", "50\\%", "0.5\\%"),
        ("15\\text{ cm}", "15", "15\\text{ m}"),
        ("[0,1)", "0 \\leq x < 1", "0 < x < 1"),
        ("y = 2x+1", "4x - 2y + 2 = 0", "4x - 2y + 1 = 0"),
        ("x > 2", "-x < -2", "-x > -2"),
        ("204_5", "204", "204_6"),
        ("(3,4)", "y=4, x=3", "y=3, x=4"),
        ("\\{1,2\\}", "2, 1, 2", "(1,2)"),
        ("2:3", "4:6", "3:2"),
        ("12:30", "12:30", "6:15"),
        ("1000,99", "1000.99", "100099"),
        ("90^\\circ", "\\frac{\\pi}{2}", "1.570796"),
    ],
)
def test_rule_accepts_and_refuses(gold: str, right: str, wrong: str) -> None:
    assert judge(right, gold) == ("correct", "equal")
    assert judge(wrong, gold)[0] == "wrong"


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("x^3", "x**3", "3x"),
        ("2*sin(x)*cos(x)", "\\sin 2x", "sin(2)x"),
        ("\\sqrt{18}", "sqrt(9+9)", "sqrt(9)+9"),
        ("e^2", "exp(2)", "e \\cdot 2"),
        ("240000", "2.4x10^5", "2.4x10^4"),
        ("6", "4\\frac{3}{2}", "\\text{six or seven}"),
        ("\\frac{11}{2}", "5 1/2", "4 3/2"),
        ("\\frac13", "0.333333", "0.333334"),
        ("\\frac13", "0.333\\ldots", "0.34\\ldots"),
        ("-35", "-35\\%", "35\\%"),
        ("0.8\\%", "0.008", "0.8"),
        ("6000", "6 \\text{ thousand}", "6000 \\text{ million}"),
        ("23", "\\text{twenty-three}", "23 \\text{, possibly 24}"),
        ("23", "23 \\text{ students}", "23 \\text{ is incorrect}"),
        ("8\\text{ N}", "8 \\text{ newtons}", "8\\text{ kN}"),
        ("9\\text{ kg/m}^3", "9\\,\\mathrm{kg\\,m^{-3}}", "9\\text{ kg/m}^2"),
        ("\\$30", "30 \\text{ dollars}", "£30"),
        ("12\\text{ dollars}", "USD 12", "12\\%"),
        ("3m^2", "3 m^2", "3"),
        ("400", "400 m²", "400 + m"),
        ("72^\\circ", "72^o", "27^o"),
        ("60^\\circ", "\\frac{\\pi}{3} \\text{ radians}", "\\frac{\\pi}{6}"),
        ("90 - \\frac{x}{2}", "90^\\circ - \\frac{x}{2}", "90^\\circ + \\frac{x}{2}"),
        ("x=3", "3=x", "6x-18=0"),
        ("x=3", "x = 6/2", "x = 3x - 6"),
        ("(-9,5)", "-9 < y < 5", "|y+2|<7"),
        ("x>2", "-x<-2", "2x>4"),
        ("(0,25]", "0 < x \\le 25", "\\log_5 x \\le 2"),
        ("k>9", "9<k", "m>9"),
        ("(-1,6)", "y > -1, y < 6", "y > -1 \\text{ or } y < 6"),
        ("\\emptyset", "y>8 \\text{ and } y<2", "\\{\\varnothing\\}"),
        ("k \\equiv 2 \\pmod 7", "k \\equiv 9 \\bmod 7", "k \\equiv 2 \\pmod 9"),
        ("5k, k\\in\\mathbb{Z}", "x = 5k \\ (k \\in \\mathbb{Z})", "5n"),
        ("3n", "3n, n \\ge 2", "3n, 2"),
        ("g(x)=ax^2", "g(x)=ax^2 \\text{ for some constant } a", "g(x)=ax \\text{ for all } x"),
        ("17", "17", "17, where n = 3"),
        ("17", "17 \\text{ students in total}", "17 \\text{ and a half}"),
        ("17", "17 \\text{ times}", "17 \\text{ times two}"),
        ("17", "17\\text{ m}", "17 \\text{ thousandths}"),
        ("17", "17 wheels on 9 cars", "17 wheels on 9 cars, or 18"),
        ("17", "17 \\text{ for now}", "17 \\text{ when } 18"),
        ("A", "(A)", "(A)(B)"),
        ("(-3,8)", "P(-3,8)", "P(8,-3)"),
        ("\\begin{pmatrix}7\\\\-2\\end{pmatrix}", "(7,-2)^T", "(-2,7)^T"),
        ("\\frac{12}{4} = 3", "3", "4"),
        ("Tom, Maria", "\\text{Maria, Tom}", "\\text{Maria}"),
        ("Yes", "\\text{Yes}, k=9", "\\text{Yes or no}"),
        ("A", "\\text{Choice A}", "A. 11 B. 15 C. 19"),
        ("4,9", "4或9", "4"),
        ("10", "∑_{j=1}^{4} j", "∑_{j=1}^{5} j"),
        ("6.75", '"6.75"', '"6.5"'),
    ],
)
def test_rule_of_normalising_and_its_neighbour(gold: str, right: str, wrong: str) -> None:
    assert judge(right, gold) == ("correct", "equal")
    assert judge(wrong, gold)[0] == "wrong"


@pytest.mark.parametrize("gold", ["3", "(0,1)", "\\{1,2,3\\}", "x=3", "\\text{Evelyn}", "C", "x^2", "\\sqrt{2}", "2:3"])
@pytest.mark.parametrize("listed", ["1, 2, 3", "3 or 4", "\\{0,1,2,3\\}", "(0,1), 3", "x=3 or x=4", "A, B, C"])
def test_list_of_candidates_is_right_only_as_a_list(gold: str, listed: str) -> None:
    same = gold == "\\{1,2,3\\}" and listed == "1, 2, 3"
    assert (judge(listed, gold)[0] == "correct") == same


@given(st.integers(MAX_DEPTH + 1, 500), st.sampled_from(["(%s)", "{%s}", "\\sqrt{%s}", "2^{%s}", "[%s,1]"]))
def test_nesting_is_refused_before_it_is_read(depth: int, shape: str) -> None:
    text = "x"
    for _ in range(depth):
        text = shape % text
    with pytest.raises(TooComplexError):
        parse(normalise(text))


@pytest.mark.parametrize(
    ("gold", "answer", "outcome"),
    [
        ("37", r"\boxed{\boxed{37} 36; 37}", Outcome.WRONG),
        ("37", r"\boxed{73, 37 \boxed{37}}", Outcome.WRONG),
        ("6", r"\boxed{\boxed{6}}", Outcome.CORRECT),
        ("12345", r"\boxed{\boxed{\boxed{12345}}}", Outcome.CORRECT),
        ("12345", r"\boxed{\boxed{\boxed{12345}} 7}", Outcome.WRONG),
        ("1, 2", r"\boxed{\boxed{1} and \boxed{2}}", Outcome.CORRECT),
        ("37", r"\boxed{36 = 37}", Outcome.WRONG),
        ("37", r"\boxed{36 + 1 = 37}", Outcome.CORRECT),
        ("8 N", r"\boxed{80 \text{ N} = 8 \text{ N}}", Outcome.WRONG),
        ("5 km", r"\boxed{5000 \text{ m} = 5 \text{ km}}", Outcome.CORRECT),
        (r"9\pi", r"\boxed{\pi r^2 = 9\pi}", Outcome.CORRECT),
        ("C", r"\boxed{C} or \boxed{A \ne C}", Outcome.WRONG),
    ],
)
def test_box_is_judged_with_all_that_it_says(gold: str, answer: str, outcome: Outcome) -> None:
    assert grade(answer, gold, strict=True).outcome is outcome
