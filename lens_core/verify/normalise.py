"""One spelling for what can be written in many ways: `normalise(answer) -> LaTeX`.

Rules that change how an answer is written and never what it says. Each stands in a table or a function below with the
reason beside it; what an answer *means* (a list, an interval, a percentage) is decided in structure.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from fractions import Fraction

from lens_core.verify import units
from lens_core.verify.connectives import AND, OR
from lens_core.verify.numerals import MAGNITUDE, MAGNITUDES

_UNICODE = {
    **dict.fromkeys("−–—‒―﹣", "-"),
    **dict.fromkeys("×∙⋅·∗", r"\cdot "),
    **dict.fromkeys("÷∕⁄", "/"),
    **dict.fromkeys("“”„«»", '"'),
    **dict.fromkeys("‘’ʹ", "'"),
    **{"′": "'", "∶": ":", "，": ",", "；": ";", "。": ".", "、": ",", "｜": "|", "∣": "|", "…": r"\ldots "},
    **{"≤": r"\leq ", "≥": r"\geq ", "⩽": r"\leq ", "⩾": r"\geq ", "≠": r"\neq ", "≈": r"\approx ", "±": r"\pm "},
    **{"∓": r"\mp ", "∞": r"\infty ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "°": r"^\circ "},
    **{"º": r"^\circ ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}"},
    **{"∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "∖": r"\setminus ", "∠": r"\angle ", "△": r"\triangle "},
    **{"⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil "},
    **{"α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ", "θ": r"\theta "},
    **{"λ": r"\lambda ", "μ": r"\mu ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi "},
    **{"ψ": r"\psi ", "ω": r"\omega ", "Δ": r"\Delta ", "Γ": r"\Gamma ", "Ω": r"\Omega ", "Σ": r"\Sigma "},
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")
_TABLE = str.maketrans(_UNICODE)


def _unicode(text: str) -> str:
    """Symbols as LaTeX commands, full-width digits as plain ones; NUL, control characters and surrogates as spaces."""
    if text.isascii():
        return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", " ", text)
    text = re.sub(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+", lambda match: f"^{{{match[0].translate(_SUPERSCRIPTS)}}}", text)
    text = re.sub(r"[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+", lambda match: f"_{{{match[0].translate(_SUBSCRIPTS)}}}", text)
    text = re.sub(r"(\d?)\s*([¼½¾⅐-⅞])", _vulgar, text)
    text = re.sub(r"([a-zA-Z])[\u0304\u0305]", r"\\bar{\1}", unicodedata.normalize("NFD", text))
    text = re.sub(r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}", text).replace("√", r"\sqrt")
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).translate(_TABLE)
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Cf", "Zs") else char for char in text)


def _vulgar(match: re.Match[str]) -> str:
    above, below = unicodedata.normalize("NFKC", match[2]).split("⁄")
    return f"{match[1]}\\frac{{{above}}}{{{below}}}"


_LAYOUT = re.compile(
    r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|scriptstyle|limits|bf|rm|it|hfill|noindent)(?![a-zA-Z])\.?"
    r"|\\!\s*"
)
"""Commands that only lay out. `\\!` takes the space behind it along: `11,\\! 111` is one number."""
_SPACES = re.compile(r"\\[,;: ]|\\q?quad|\\(?:enspace|thinspace|medspace|space)(?![a-zA-Z])|~|\s")
_SYNONYMS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:leqslant|leqq|le)(?![a-zA-Z])|<=|=<", r"\\leq "),
        (r"\\(?:geqslant|geqq|ge)(?![a-zA-Z])|>=", r"\\geq "),
        (r"\\(?:ne)(?![a-zA-Z])|\\not\s*=|!=", r"\\neq "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\(?:times|ast|cdotp)(?![a-zA-Z])|\*+", r"\\cdot "),
        (r"\\div(?![a-zA-Z])", "/"),
        (r"\\(?:thickapprox|simeq|sim)(?![a-zA-Z])|~=", r"\\approx "),
        (r"\\(?:lbrace)(?![a-zA-Z])", r"\\{"),
        (r"\\(?:rbrace)(?![a-zA-Z])", r"\\}"),
        (r"\\(?:lbrack)(?![a-zA-Z])", "["),
        (r"\\(?:rbrack)(?![a-zA-Z])", "]"),
        (r"\\(?:lvert|rvert|vert|mid)(?![a-zA-Z])", "|"),
        (r"\\(?:varnothing|empty)(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\lg(?![a-zA-Z])", r"\\log_{10} "),
        (r"\\(?:backslash)(?![a-zA-Z])", r"\\setminus "),
        (r"\\(?:colon)(?![a-zA-Z])|\{\s*:\s*\}", ":"),
        (r"\\langle(?![a-zA-Z])", "("),
        (r"\\rangle(?![a-zA-Z])", ")"),
        (r"\\(?:varphi)(?![a-zA-Z])", r"\\phi "),
        (r"\\(?:varepsilon)(?![a-zA-Z])", r"\\epsilon "),
        (r"\\(?:Reals|R)(?![a-zA-Z])|\\mathbf\{R\}", r"\\mathbb{R}"),
        (r"\\arc(sin|cos|tan)(?![a-zA-Z])", r"\\arc\1 "),
        (r"\^\s*\{?\s*\\(?:circ|degree)\s*\}?|\\degree(?![a-zA-Z])|(?<=\d)\^\s*\{?o\}?(?![a-zA-Z])", r"\\degree "),
        (r"\(?\s*\\?(?:[pb]mod|mod(?![a-zA-Z])|text\{\s*mod\s*\})\s*\{?\s*(\d+|[a-zA-Z])\s*\}?\s*\)?", r"\\pmod{\1}"),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*(?:\^|\*\*)|\d+(?:\.\d+)?$)", r"\\cdot "),
        (r"\^\s*\{\s*\\prime\s*\}|\^\s*\\prime(?![a-zA-Z])", "'"),
        (r"(?<![a-zA-Z\\])(?:infinity|inf)(?![a-zA-Z])", r"\\infty "),
        (r"(?<![a-zA-Z\\])(sqrt|pi)(?![a-zA-Z])", r"\\\1 "),
        (r"(?<![a-zA-Z\\])log(?=_)", r"\\log"),
        (r"\{\s*([^{}]*?)\s*\\over\s+([^{}]*?)\s*\}", r"\\frac{\1}{\2}"),
    )
]  # fmt: skip
_WRAPPED = re.compile(
    r"\\(text(?:bf|it|rm|normal|tt|sf|sc|up)?|mbox|hbox|math(?:rm|bf|it|sf|tt)|boldsymbol|bm|operatorname)"
    r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_LISTED = re.compile(r"(?:\(?[A-J]\)?|[\d.]+)(?:(?:,| |and|or)+(?:\(?[A-J]\)?|[\d.]+))+")
_FUNCTIONS = {
    *("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"),
    *("ln", "log", "exp", "gcd", "lcm", "max", "min", "det"),
}
_CALLED: dict[str, Callable[[str], str]] = {
    "sqrt": "\\sqrt{{{}}}".format,
    "cbrt": "\\sqrt[3]{{{}}}".format,
    "exp": "e^{{{}}}".format,
    "abs": "|{}|".format,
    **{name: f"\\arc{name[1:]}({{}})".format for name in ("asin", "acos", "atan")},
    **{name: f"\\{name}({{}})".format for name in sorted(_FUNCTIONS - {"exp"}, key=len, reverse=True)},
}
"""Functions as programming languages write them, with their argument."""
_CALL = re.compile(rf"(?<![a-zA-Z\\])({'|'.join(sorted(_CALLED, key=len, reverse=True))})\s*\(")
_APPLIED = re.compile(
    r"(?<![a-zA-Z\\])(sin|cos|tan|cot|sec|csc|ln|log)(?=\s+(?:[a-zA-Z](?![a-zA-Z])|\d|\\))(?![^{]*\})"
)
_POWER = re.compile(r"(?<=[\w)\]}])\s*\*\*\s*(-?\d+|[a-zA-Z]|(?=[({]))")
_BOLD = re.compile(r"(?<![\w)\]}*])\*\*(?=[^\s*])([^*]+)(?<=\S)\*\*(?![\w({*])")
_TWICE_WRAPPED = re.compile(r"\\(?:text|math)(?:bf|it|rm)\s*\{\s*(\\(?:text|math)[a-z]*\s*\{[^{}]*\})\s*\}")
_CASES = re.compile(r"(?:\\left\s*\\\{\s*)?\\begin\{cases\}([^&]*?)\\end\{cases\}(?:\s*\\right\s*\.)?", re.DOTALL)
"""A system of equations, as against a function by cases, which has its conditions behind `&`."""
_PERCENT = re.compile(r"\s*\\?%|\s*(?<![a-zA-Z])(?:per ?cent(?:age)?|pct)(?![a-zA-Z])")
_CURRENCIES = [
    (
        re.compile(rf"\\text\{{\s*(?:{sign}|{word})\s*\}}(?=\s*[\d\\-]|$)|{sign}|(?<![a-zA-Z])(?:{word})(?=\s*\d)"),
        f"\\\\text{{{name}}}",
    )
    for sign, word, name in (
        (r"(?:(?<![a-zA-Z])US)?\\\$", "USD", "dollar"),
        (r"\\euro(?![a-zA-Z])|€", "EUR", "euro"),
        (r"\\pounds|£", "GBP", "pound"),
        (r"₹", r"Rs\.?|INR", "rupee"),
    )
]
_PREFIXED = re.compile(r"([-+]?) ?\\text\{(dollar|euro|pound|rupee)\} ?(-?[\d.]*\d)(?! ?\\text)")
_NO_WORD = re.compile(r"[¥₽₩]|\\text\{\s*\}|^\s*\\text\{(?:dollar|euro|pound|rupee)\}(?!\s*$)")
_MAGNITUDE = re.compile(
    rf"(?<![\d.a-zA-Z])(\d+(?:\.\d+)?) ?(?:\\text\{{\s*{MAGNITUDE}\b\s*([^{{}}]*)\}}|{MAGNITUDE}(?![a-zA-Z]))"
)
_ENDLESS = re.compile(r"(?<![\d.])(\d+)\.(\d*?)(?:(\d)\3{2,}|(\d{2,}?)\4+)\s*(?:\\[lc]?dots|\.{2,})")
_CIS = re.compile(r"\\text\{cis\}\s*(?:\(([^()]*)\)|([^\s+)]+(?: ?\\degree)?))")
_TRAILING = re.compile(r"(?:\\l?dots|\\cdots|[.,;:?\s\"`]|\\\\)+$")


def _wrapper(match: re.Match[str]) -> str:
    """`\\mathbf{12}` and `\\mathrm{e}` are type faces, `\\textbf{blue}` is a word: kept as `\\text{blue}`."""
    command, content = match[1], match[2]
    if command == "operatorname" and content.strip() in _FUNCTIONS:
        return f"\\{content.strip()} "
    is_face = command.startswith("math") or command in ("boldsymbol", "bm")
    if is_face and re.search(r"[a-zA-Z]{2}|/", content) and units.parse(_SPACES.sub(" ", content)):
        is_face = False
    if not is_face:
        content = re.sub(r"[{}]|\\text", "", _SPACES.sub(" ", content))
    if is_face and (len(content.strip()) == 1 or not content.strip().isalpha()):
        return f" {content} "
    if re.fullmatch(r"[\s\d.,+-]+", content):  # \text{13} is a number
        return content
    content = " ".join(content.split())
    if _LISTED.fullmatch(content):  # \text{1 and 3}, \text{(A), (C)}
        return content
    counted = re.match(r"\s*(\d[\d.,]*)(?= +[a-zA-Z])", content)  # \text{50 apples}
    if counted:
        return f"{counted[1]}\\text{{{content[counted.end() :]}}}"
    if content.endswith(","):  # \text{Yes, } k = 9
        return f"\\text{{{content.strip(' ,')}}}, "
    for joint, words in (("and", AND), ("or", OR)):
        if re.fullmatch(words, content.strip("., ")):
            return f" {joint} "
    if _PERCENT.fullmatch(content):
        return r"\% "
    if content == "mod":
        return " mod "
    return f"\\text{{{content}}}"


def _arguments(text: str) -> str:
    """Braces for arguments that TeX lets stand bare: `\\frac12`, `\\frac1{2}`, `\\sqrt2`, `x^10` is left to TeX."""
    text = re.sub(r"\\frac\s*(\\(?:pi|theta)|[\da-zA-Z])\s*(\\(?:pi|theta)|[\da-zA-Z])", r"\\frac{\1}{\2}", text)
    text = re.sub(r"\\frac\s*([\da-zA-Z])\s*\{", r"\\frac{\1}{", text)
    text = re.sub(r"(\\frac\s*\{[^{}]*\})\s*([\da-zA-Z])", r"\1{\2}", text)
    text = re.sub(r"\\frac\s+\{", r"\\frac{", text)
    text = re.sub(r"\\sqrt\s*(\[[^\]]*\])?\s*([\da-zA-Z])", r"\\sqrt\1{\2}", text)
    text = re.sub(r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    return re.sub(r"\^\s*\(([^()]*)\)", r"^{\1}", text)


def _numbers(text: str) -> str:
    """Numbers in one spelling: no thousands separators, a decimal point, powers of ten, mixed fractions as sums."""
    text = re.sub(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d{3})", "", text)
    text = re.sub(r"(?<=\d)\{\s*,\s*\}(?=\d)", ".", text)  # 0{,}5: braces keep TeX from spacing a decimal comma
    # Not behind a bracket: (12,102) is a pair or an interval.
    # 1.234.567,89 can only be read one way, as can 1000,99 and 0,111; `1,234` is a thousand by English custom.
    text = re.sub(
        r"(?<![\d.,])\d{1,3}(?:\.\d{3})+,\d+(?![\d.,])", lambda m: m[0].replace(".", "").replace(",", "."), text
    )
    text = re.sub(r"(?<![\d.,(\[])(?<!\\\{)[1-9]\d{0,2}(?:,\d{3})+(?![\d,])", lambda m: m[0].replace(",", ""), text)
    text = re.sub(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?![\d,])", lambda m: m[0].replace(" ", ""), text)
    text = re.sub(r"(?<![\d.])\.(?=\d|\\overline|\\bar|\\dot)", "0.", text)
    text = re.sub(r"(?<![\d.])(\d+)\.(\d*)\\(?:overline|bar|dot)\s*\{(\d+)\}(?!\d)", _repeating, text)
    text = _ENDLESS.sub(_repeating, text)
    text = re.sub(r"(?<![\d.a-zA-Z])(\d+(?:\.\d+)?)[eE]([+-]?\d+)(?![\d.a-zA-Z])", r"\1\\cdot 10^{\2}", text)
    # A whole number before a proper fraction of whole numbers is a mixed fraction; before any other, a factor.
    return re.sub(
        r"(?<![\d.a-zA-Z}_^)/])(\d+) ?\\frac\{(\d+)\}\{(\d+)\}|(?<![\d.a-zA-Z}_^)/])(\d+) (\d+)/(\d+)(?!\d)",
        _mixed,
        text,
    )


def _repeating(match: re.Match[str]) -> str:
    """`0.1\\overline{6}` is 16 - 1 over 90."""
    whole, fixed, period = (group for group in match.groups() if group is not None)
    above = int(whole + fixed + period) - int(whole + fixed)
    return f"\\frac{{{above}}}{{{'9' * len(period)}{'0' * len(fixed)}}}"


def _mixed(match: re.Match[str]) -> str:
    whole, above, below = (match[index] or match[index + 3] for index in (1, 2, 3))
    if int(above) < int(below):
        return f"({whole}+\\frac{{{above}}}{{{below}}})"
    return match[0] if match[1] is None else f"{whole}\\cdot \\frac{{{above}}}{{{below}}}"


def _magnified(match: re.Match[str]) -> str:
    """`2 \\text{ thousand dollars}` is 2000 dollars."""
    value = Fraction(match[1]) * MAGNITUDES[match[2] or match[4]]
    number = str(value) if value.denominator == 1 else f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    return f"{number}\\text{{{match[3]}}}" if match[3] else number


def _calls(text: str) -> str:
    """`sqrt(3)` as `\\sqrt{3}`, whatever brackets the argument holds; the innermost first."""
    for match in reversed(list(_CALL.finditer(text))):
        depth = 0
        for end in range(match.end() - 1, len(text)):
            depth += (text[end] == "(") - (text[end] == ")")
            if depth == 0:
                text = text[: match.start()] + _CALLED[match[1]](text[match.end() : end]) + text[end + 1 :]
                break
    return _APPLIED.sub(r"\\\1 ", text)


def normalise(text: str) -> str:
    """The answer in one spelling of LaTeX, without `$`, layout commands and trailing punctuation.

    `\\text{...}` keeps words apart from symbols; a currency sign is a word behind its number, a percent sign `\\%`, a
    degree sign `\\degree`.
    """
    text = _unicode(text)
    if "\\begin" in text:
        text = _CASES.sub(lambda match: match[1].replace("\\\\", " , "), text)
        text = text.replace("\\\\", "\\cr ")  # rows of a matrix, before `\\ ` is taken for a space
    else:
        text = re.sub(r"\\\\(?=[a-zA-Z])", r"\\", text)  # doubled by one JSON encoding too many
    text = _LAYOUT.sub("", text)
    text = re.sub(r"\\[()\[\]]|(?<!\\)\$|^\s*\"|`", " ", re.sub(r"^\s*'(.*)'\s*$", r"\1", text))
    text = _POWER.sub(_power, _BOLD.sub(r"\1", text)).replace("**", " ")
    for pattern, replacement in _CURRENCIES:
        text = pattern.sub(replacement, text)
    text = _WRAPPED.sub(_wrapper, _TWICE_WRAPPED.sub(r"\1", text))
    text = _SPACES.sub(" ", text)
    text = _PERCENT.sub(r"\\% ", text)
    text = _calls(text)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _numbers(_arguments(" ".join(text.split())))
    text = _NO_WORD.sub(" ", _PREFIXED.sub(r"\1\3\\text{\2}", text))
    text = _CIS.sub(lambda match: f"(\\cos({match[1] or match[2]})+i\\sin({match[1] or match[2]}))", text)
    text = _MAGNITUDE.sub(_magnified, text)
    text = _TRAILING.sub("", text)
    return re.sub(r"\s*([,;=<>+/^_(){}\[\]|-])\s*", _tight, " ".join(text.split())).strip()


def _power(match: re.Match[str]) -> str:
    """`x**10` of programming languages, as against `**bold**`."""
    return f"^{{{match[1]}}}" if match[1] else "^"


def _tight(match: re.Match[str]) -> str:
    # The space behind a comma tells a list from a number: `32, 349` is not 32,349.
    return match[1] + " " if match[1] in ",;" else match[1]
