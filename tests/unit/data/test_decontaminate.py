import random

import pytest

from lens_core.data.decontaminate import EvaluationSet, identity, jaccard, ngrams, tokens
from lens_core.data.problem import Problem


def problem(prompt: str, name: str = "p") -> Problem:
    return Problem(id=name, prompt=prompt, answer="1", source="test")


def evaluation_set(*prompts: str, near: float | None = 0.8, size: int = 3) -> EvaluationSet:
    found = EvaluationSet(near, size)
    for index, prompt in enumerate(prompts):
        found.add(problem(prompt, str(index)), tokens(prompt))
    return found


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        ("What is X?", "what IS x"),
        ("a  b\n\tc", "a b c"),
        ("X²", "x2"),  # compatibility form
        ("\ufb01nd x\u00a0now", "find x now"),  # ligature, no-break space
        ("cafe\u0301", "caf\u00e9"),  # combining accent
        ("STRASSE", "straße"),  # case folding, which lower() does not do
        ("$1+2$", "\\(1 + 2\\)"),
        (r"\dfrac{1}{2}", r"\frac12"),
        (r"\tfrac{x}{2}", r"\frac x2"),
        (r"\left( x \right)", "(x)"),
        ("1,234,567 or 1{,}234 or 1,\\!234", "1234567 or 1234 or 1234"),
        (r"x\,y \quad z", "x y z"),
        (r"$x^{2}$, right?", "x^2 right"),
        (r"a \le b", r"a \leq b"),
        (r"\text{ cm}", "cm"),
    ],
)
def test_prompts_have_the_same_tokens_whatever_spacing_punctuation_and_spelling(prompt: str, same: str) -> None:
    assert tokens(prompt) == tokens(same)


@pytest.mark.parametrize(
    "prompts",
    [
        ("1+2", "1-2", "12", "(1+2)", "1*2", "1.2"),
        ("5!", "5"),
        (r"\frac{1}{2x}", r"\frac{1}{2}x"),
        (r"x^{12}", r"x^{1}2"),
        ("$|x|$", "$x$"),
        (r"\{1\}", "1"),
    ],
)
def test_tokens_keep_what_changes_the_meaning(prompts: tuple[str, ...]) -> None:
    assert len({tuple(tokens(prompt)) for prompt in prompts}) == len(prompts)


def test_tokens_of_tokens_are_the_same_again() -> None:
    once = tokens(r"Let $f(x)=\dfrac{1}{2x}$, and $\left\{1,\!000\right\}$. Find $f(3)$!")
    assert tokens(" ".join(once)) == once


def test_ngrams_and_jaccard_of_known_words() -> None:
    # a b c d -> {abc, bcd}; a b c e -> {abc, bce}: one of three
    assert ngrams(["a", "b", "c", "d"], 3) == {"a b c", "b c d"}
    assert jaccard(ngrams(["a", "b", "c", "d"], 3), ngrams(["a", "b", "c", "e"], 3)) == pytest.approx(1 / 3)
    assert ngrams(["a"], 3) == {"a"}


def test_equal_prompt_is_exact_and_names_the_evaluation_problem() -> None:
    found = evaluation_set("Find $x$.", "What is $1+2$?").match(tokens("what is 1 + 2"))
    assert found is not None
    assert (found.kind, found.similarity, found.evaluation, found.source) == ("exact", 1.0, "1", "test")
    assert found.prompt == "What is $1+2$?"


def test_near_duplicate_has_its_exact_similarity() -> None:
    # 24 words have 22 trigrams; another last word changes one of them: 21 common of 23.
    words = [f"w{chr(97 + i)}" for i in range(24)]
    found = evaluation_set(" ".join(words)).match([*words[:-1], "other"])
    assert found is not None
    assert (found.kind, found.similarity) == ("near", round(21 / 23, 4))


def test_threshold_decides_at_its_own_value_and_none_switches_off() -> None:
    # Six words, the last another one: 3 trigrams common of 5, 0.6.
    words = ["one", "two", "three", "four", "five", "six"]
    other = [*words[:-1], "seven"]
    assert evaluation_set(" ".join(words), near=0.6).match(other) is not None
    assert evaluation_set(" ".join(words), near=0.61).match(other) is None
    assert evaluation_set(" ".join(words), near=None).match(other) is None
    assert evaluation_set(" ".join(words), near=None).match(words) is not None


def test_most_similar_evaluation_problem_is_named() -> None:
    words = [f"w{chr(97 + i)}" for i in range(24)]
    far, close = [*words[:-2], "x", "y"], [*words[:-1], "z"]
    found = evaluation_set(" ".join(far), " ".join(close)).match(words)
    assert found is not None
    assert found.evaluation == "1"


def test_short_problems_that_differ_in_a_number_are_different() -> None:
    ladder = evaluation_set("Compute 47*6+38*2.", "Compute 47+8.")
    assert ladder.match(tokens("Compute 47*6+38*3.")) is None
    assert ladder.match(tokens("Compute 47+9.")) is None
    assert EvaluationSet(0.8, 3).match(tokens("Compute 47+9.")) is None


def test_candidates_miss_no_pair_that_a_comparison_of_all_finds() -> None:
    rng = random.Random(0)
    vocabulary = [f"v{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(10)]
    base = [[rng.choice(vocabulary) for _ in range(rng.randint(15, 40))] for _ in range(150)]
    changed = [[rng.choice(vocabulary) if rng.random() < 0.05 else word for word in words] for words in base]
    index = evaluation_set(*(" ".join(words) for words in base), near=0.7)
    missed = pairs = 0
    for words in changed:
        best = max(jaccard(ngrams(words, 3), ngrams(other, 3)) for other in base)
        found = index.match(words)
        pairs += best >= 0.7
        missed += best >= 0.7 and (found is None or found.similarity != round(best, 4))
        assert found is None or best >= 0.7
    assert pairs > 80
    assert missed == 0


def test_identity_is_of_the_tokens() -> None:
    assert identity(tokens("What is $X$?")) == identity(tokens("what  is x"))
    assert identity(["ab"]) != identity(["a", "b"])
