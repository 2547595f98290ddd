"""What an answer can mean, and what keeps a gold answer from being read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from lens_core.verify.boxes import MAX_ANSWER_CHARS
from lens_core.verify.extract import gold_answer, refine
from lens_core.verify.normalise import normalise
from lens_core.verify.structure import Expr, Node, TooComplexError, parse

_DECIMAL_COMMA = re.compile(r"-?(?:\d+,(?:\d{2}|\d{4,})|0,\d{2,}|\d{4,},\d+)")
_THOUSANDS_OR_LIST = re.compile(r"-?\d{1,3}(?:,\d{3})+")


@lru_cache(4096)
def readings(text: str) -> tuple[Node, ...]:
    """What an answer can mean: `1,22` is a list of two, and 1.22 in much of Europe; `12,345` is a number or a list.

    Raises:
        TooComplexError: if it is nested too deeply.
    """
    text = refine(text)
    bare = text.strip("$ \n.")
    ways = [text]
    if _DECIMAL_COMMA.fullmatch(bare):
        ways.append(bare.replace(",", "."))
    if _THOUSANDS_OR_LIST.fullmatch(bare):
        ways.append(bare.replace(",", ", "))
    return tuple(parse(normalise(way)) for way in ways)


class Gold(NamedTuple):
    readings: tuple[Node, ...]
    fault: str
    """Why it cannot be read; empty if it can. An answer may be the same text all the same."""


@lru_cache(4096)
def read_gold(answer: str) -> Gold:
    """A gold answer, read once for all completions of its problem."""
    text = gold_answer(answer)
    if len(text) > MAX_ANSWER_CHARS:
        return Gold((), f"has {len(text):,} characters; up to {MAX_ANSWER_CHARS:,} are read")
    try:
        nodes = readings(text)
    except TooComplexError as error:
        return Gold((), f"is {error}")
    return Gold(nodes, "cannot be read" if nodes[0] == Expr("") or is_damaged(text) else "")


_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_COMMANDS = frozenset(
    """
    frac dfrac tfrac cfrac sqrt pi degree cdot times div ast cdotp leq le leqslant leqq geq ge geqslant geqq neq
    ne lt gt approx thickapprox equiv in ni infty emptyset varnothing setminus backslash cup cap pm mp bar
    overline hat vec widehat overrightarrow underline tilde dot ddot angle triangle measuredangle parallel perp
    cong sim simeq circ propto not sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh
    tanh coth ln log lg exp gcd lcm max min det dim ker arg deg sgn sup inf lim sum prod int iint iiint oint
    bigcup bigcap binom dbinom tbinom choose pmod mod bmod pod over under begin end hline cr ldots dots cdots
    dotsc lfloor rfloor lceil rceil langle rangle lbrace rbrace lbrack rbrack vert lvert rvert Vert lVert rVert
    mid nmid colon forall exists to rightarrow Rightarrow longrightarrow implies iff mapsto leftrightarrow
    Leftrightarrow land lor neg wedge vee therefore because prime partial nabla ell hbar Re Im imath jmath
    subset subseteq supset notin overset underset stackrel substack underbrace overbrace alpha beta gamma delta
    epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon phi varphi chi
    psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega Reals R N Z Q C left right big Big bigg
    Bigg bigl bigr Bigl Bigr biggl biggr middle displaystyle textstyle scriptstyle limits bf rm it hfill
    noindent quad qquad enspace thinspace medspace space pounds euro mbox hbox boldsymbol bm boxed fbox phantom
    star bullet oplus otimes top intercal square Box blacksquare diamond tag label item arc overarc wideparen
    """.split()  # noqa: SIM905
)
"""Of LaTeX, as answers use it."""
_OPENED = {"(": 1, "[": 1, "\\{": 1, ")": -1, "]": -1, "\\}": -1}


def is_damaged(latex: str) -> bool:
    """Whether a gold answer holds commands that do not exist, or brackets that do not close."""
    depth = braces = 0
    for token in _TOKEN.findall(re.sub(r"\\text\w*\{[^{}]*\}|\\\\", " ", latex)):
        braces += (token == "{") - (token == "}")
        depth += _OPENED.get(token, 0)
        name = token.removeprefix("\\")
        is_command = token != name and name.isalpha() and not name.startswith(("text", "math", "operator"))
        if is_command and name not in _COMMANDS:
            return True
    closes_itself = re.search(r"^[\s$]*\]|(?:^|[\s,;$])\w\)", latex) is not None  # ]0, 1[ and B) 7
    return braces != 0 or (depth != 0 and not closes_itself and re.search(r"[\d\\]", latex) is not None)
