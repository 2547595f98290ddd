"""Where the final answer stands in a completion: `find_answer(completion, gold, strict) -> Found or None`.

Only the last thing that a completion commits to counts, whole: candidates that are listed are one answer, the list.
Every search of `find_answer` goes over a bounded stretch of text, in linear time, since it runs in the caller's
process. A pattern of the user's may take for ever: `find_by_pattern` is for grading processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from lens_core.verify.boxes import BOX, MAX_ANSWER_CHARS, boxes
from lens_core.verify.connectives import AND, HEDGE, OPEN, OR
from lens_core.verify.numerals import SPELLED

_TAIL_CHARS = 20_000
"""Without a box, the answer is looked for in this much text at the end."""
_MAX_PHRASES = 20
"""That announce an answer and are followed by none, before it is looked for elsewhere."""

Way = Literal["box", "tag", "marker", "pattern", "phrase", "last"]
"""How an answer was found: `\\boxed{}`, `<answer>`, a `####` line, a pattern of the user's, a phrase (`the answer is`),
or as the last formula or number. The first four are commitments; strict grading takes no others."""


class Found(NamedTuple):
    text: str
    """The answer as it was written, without box or delimiters of its own."""
    way: Way


_SPECIAL = re.compile(r"<\|[a-z_]{1,30}\|>|</s>")
_THOUGHT = r"(?:think|thinking|thoughts?|reason|reasoning|reflection|scratchpad|seed:think)"
_OPENING = rf"(?:<{_THOUGHT}>|\[THINK\]|◁think▷|<\|begin_of_thought\|>)"
_CLOSING = rf"(?:</{_THOUGHT}>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>)"
_REASONING_TAG = re.compile(rf"(?P<opening>{_OPENING})|{_CLOSING}", re.IGNORECASE)
_ANSWER_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_MARKER = re.compile(r"(?<![#\w])#{4}(?!#)[ \t]*(?P<line>[^\n]*)")
_SAYS = r"(?:\W{0,4}[:：]|[^\n.:]{0,60}?\b(?:is|are|be)\b)"
_STRONG = re.compile(rf"(?<![a-z])(?:the |my )?final answer{_SAYS}", re.IGNORECASE)
"""A phrase that ranks with a box, where an answer of the gold answer's kind follows: of those, the last one counts."""
_WEAK = re.compile(
    rf"(?<![a-z])(?:answer|option|choice)s?{_SAYS}"
    r"|\bmy (?:pick|guess|choice)\b(?: is\b|:)|\bi(?:'d|'ll| would| will)? (?:pick|choose|select|go with|guess)\b"
    r"|\b(?:believe|think|guess|say) (?:that )?it(?:'s| is)\b"
    r"|答案(?:应该|應該)?(?:是|为|為)?\s*[:：]?|[选選](?:择|擇)?\s*[:：]|(?:故|应|應)[选選](?:择|擇)?|(?<![回解])答\s*[:：]"
    r"|(?:答え|正解|解答)は?\s*[:：]?|(?:정답|답)(?:은|는)?\s*[:：]?"
    r"|(?<!\w)ответ(?:\s+равен|\s+это)?\s*[-—–:]?"
    r"|(?:الجواب|الإجابة)(?: النهائي(?:ة)?)?(?: هو| هي)?\s*:?|उत्तर(?: है)?\s*:?"
    r"|(?<!\w)r[ée]ponse(?:[^\n.]{0,40}?(?:\best\b|:))|(?<!\w)respuesta(?:[^\n.]{0,40}?(?:\bes\b|:))"
    r"|(?<!\w)respost[ao](?:[^\n.]{0,40}?(?:\bé|:))|(?<!\w)risposta(?:[^\n.]{0,40}?(?:è|:))"
    r"|(?<!\w)(?:antwort|lösung|ergebnis)(?:[^\n.]{0,40}?(?:\b(?:ist|lautet|beträgt)\b|:))",
    re.IGNORECASE,
)
_MATH = re.compile(
    r"\$\$(?P<a>[^$]+)\$\$|(?<!\\)\$(?P<b>(?:\\\$|[^$\n]|\n(?!\n)){1,2000}?)(?<!\\)\$"
    r"|\\\((?P<c>(?:[^\\]|\\(?![()]))+)\\\)|\\\[(?P<d>(?:[^\\]|\\(?![\[\]]))+)\\\]"
)
_NUMBER = re.compile(
    r"(?<![a-zA-Z0-9_.])[-−–]?(?:[$€£¥₹]\s?)?[-−–]?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)(?![.,]?\d)(?:\s?/\s?\d+)?"
    r"(?:\s*(?:\\?%|(?:percent|pct)\b|[€£¥₹]|°))?"
)
_JOINT = re.compile(rf"[\s.]*(?:,|;|{AND}|{OR}|[oyue](?=\s)|,\s*and|,\s*or|&)[\s]*")
_SENTENCE_END = re.compile(r"\n|[.!?](?:\s|$)(?!\s*\.\.)|[。！？]|\bI hope\b")
_LEFT_OPEN = re.compile(OPEN, re.IGNORECASE)
_RETRACTED = re.compile(
    r"\W*(?:(?:but|and|though|which|that|this|it|is|was|could|might|may|also|be|even|just)\s+)*"
    rf"(?:{OR}|maybe|perhaps|possibly|probably|either|alternatively|else|incorrect|wrong|false|not (?:correct|right))"
    r"\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r",?\s+\b(?:because|since|as|where|which|so|when|while|if|but|hence|thus|meaning|given|obtained|found|weil|da|denn|parce|car|"
    r"porque|pues|потому|так как)\b"
    r"|,\s+(?=(?:the|an?\s[a-z]|this|that|it|its|he|she|they|we|you|with|in|for|after|by|of|[a-z]+ing)\s)"
    r"|,\s+(?:and )?not\s"
    r"|\s+[(（](?=[a-zA-Z]{2,}|[^\x00-\u04ff])|[，；、]?(?:因为|因為|所以|ので|から)"
)
"""Where what is said of an answer begins: `17, which is prime`."""
_DENIAL = re.compile(
    r"(?:\b(?:is|are|be|was|were|equals?|does|do|can|could)\s+(?:not|never)|n't|\bcannot|\bimpossible|\bnever|≠|\\neq?"
    r"|\brules? out|\brather than|\bn'est pas|\bno es|\bnão é|\bnon è|\bnicht|\bне|不是?)"
    r"(?:\b|(?=\d))[^\d,;:\n]{0,30}$",
    re.IGNORECASE,
)
"""What makes `61` behind it no answer."""
_DENIED = re.compile(r"\W*(?:\b(?:not|never|cannot|nicht|ne|не|no es|não|non è)\b|n't\b|\bn'est\b|不)", re.IGNORECASE)
_NO_VALUE = re.compile(r"(?:no|none|undefined|does|infinit\w*|impossible|empty|all|any|indeterminate)\b", re.IGNORECASE)
_META = re.compile(
    r"(?:thus|therefore|now|hence|also|indeed|easily|as|the|a|an)?\s*(?:verified|correct|confirmed|boxed|above|below|given|stated|shown|found|"
    r"obvious|clear|unique|right|consistent|complete|simple|required|to)\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""What is said of an answer, and is none."""

Kind = Literal["letter", "words", "value", "any"]


def kind_of(gold: str) -> Kind:
    """Whether a gold answer is a letter of a multiple choice, words, or holds mathematics."""
    if gold.startswith('{"'):
        return "any"  # a gold answer that brings its verifier
    bare = re.sub(r"\\(?:text|math|bold)\w*|\\boxed|[${}\s]", " ", gold[: 2 * MAX_ANSWER_CHARS]).strip(" .")
    if re.fullmatch(r"\(\s*[A-J]\s*\).*|[A-J]|[A-J][.)].*", bare):
        return "letter"
    return "words" if re.search(r"[^\W\d_]{2}", bare) and not re.search(r"[\d\\=^]", bare) else "value"


def find_answer(completion: str, gold: str = "", strict: bool = False) -> Found | None:
    """The final answer of a completion.

    Args:
        gold: the gold answer, whose kind decides which phrases announce one.
        strict: look only where a completion commits itself: box, `<answer>` tag, `####` line.

    Returns:
        None if there is none, or the completion was cut off in its reasoning or its box.
    """
    text = _outside_reasoning(completion, strict)
    if text is None:
        return None
    text = re.sub(r"~~[^~\n]{1,200}~~", "", text)
    kind = kind_of(gold)
    boxed_answer = boxes(text, strict)
    if boxed_answer is None:
        return None
    end, boxed = boxed_answer
    tail_start = max(0, len(text) - _TAIL_CHARS)
    start = max(tail_start, end)
    tagged = _tagged(text, start)
    if tagged:
        inner = find_answer(tagged, gold, strict=True)
        return Found(tagged if inner is None else inner.text, "tag")
    marked = _marked(text, start, kind)
    if marked:
        return Found(marked, "marker")
    if not strict:
        said = _said(_STRONG, text, start, kind, outranks_box=end > 0)
        if said is not None:
            return Found(said, "phrase")
    if boxed:
        return Found(boxed, "box")
    if end or strict:
        return None
    said = _said(_WEAK, text, tail_start, kind, outranks_box=False)
    if said is not None:
        return Found(said, "phrase")
    last = _last(_MARKUP.sub("", text[-_TAIL_CHARS:]).strip(), kind)
    return None if last is None else Found(last, "last")


_MARKUP = re.compile(r"(?m)^[ \t]*(?:#{1,6}[ \t]+[^\n]*$|>[ \t]+|(?:\d{1,2}[.)]|[-*+•])[ \t]+(?=\*\*))")
"""Of Markdown: headings, quotations, numbers of a list."""
_CHOSEN = re.compile(
    r"\b(?i:it'?s|it is|choose|pick|select|go with|must be|option|choice)\s+\**\(?(?P<last>[A-J])\)?(?![a-zA-Z'])\**"
    r"(?!\s*(?:,|/|or|and)\s*\(?[A-J]\b)"
    r"|(?<![a-zA-Z/] )(?<![a-zA-Z])(?P<first>[A-J])\)? is (?:the )?(?:correct|right|answer)"
)


def _last(text: str, kind: Kind) -> str | None:
    """The answer of a text without any phrase that announces it."""
    if kind == "letter" and (chosen := list(_CHOSEN.finditer(text))):
        return chosen[-1]["last"] or chosen[-1]["first"]
    is_short = len(text) < 100 and "\n" not in text
    if _is_bare(text) or (
        is_short and (_COUNTED.match(text) or (kind == "value" and SPELLED.match(text)) or kind == "words")
    ):
        return text
    return _last_mathematics(text)


def _tagged(text: str, start: int) -> str:
    """What the last `<answer>` tag holds; empty if none is closed."""
    tags = list(_ANSWER_TAG.finditer(text, start))
    for opening, closing in reversed(list(pairwise(tags))):
        if closing[1] and not opening[1]:
            return text[opening.end() : closing.start()].strip()
    return ""


def _marked(text: str, start: int, kind: Kind) -> str | None:
    """What stands behind the last `####`, as in GSM8K, that begins an answer, and no heading (`#### Step 17`)."""
    for match in reversed(list(_MARKER.finditer(text, start))):
        line, is_last = match["line"].strip(" \t*"), not text[match.end() :].strip()
        if line and _is_answer_line(line, kind, is_last):
            return line
    return None


def _is_answer_line(line: str, kind: Kind, is_last: bool) -> bool:
    if kind == "letter":
        return re.fullmatch(r"\W*[A-J]\W*|\W*[A-J][.):]\W.*", line) is not None
    if kind != "value":
        return is_last
    if re.match(r"\d+[.)]\s+[^\W\d]", line) or not (is_last or not re.search(r"(?<!\\)\b[^\W\d_]{2}", line)):
        return False
    return (
        re.match(r"[-+−–(\[{\\$€£¥₹\d.|∞π√]|[a-zA-Z](?![a-zA-Z])", line) is not None or SPELLED.match(line) is not None
    )


def _is_of(kind: Kind, said: str) -> bool:
    """Whether what was said can answer a question whose gold answer is of this kind."""
    if kind == "letter":
        return re.search(r"(?<![a-zA-Z])[A-J](?![a-zA-Z'])", said) is not None
    if kind != "value":
        return bool(said.strip()) and _META.fullmatch(said) is None
    return (
        re.search(r"\d|\\[a-zA-Z]|\$|[∞∅π√]", said) is not None
        or re.search(r"[^\W\d_]{2}", said) is None
        or SPELLED.search(said) is not None
    )


def _said(pattern: re.Pattern[str], text: str, start: int, kind: Kind, outranks_box: bool) -> str | None:
    """What the last phrase that is followed by an answer announces.

    Args:
        outranks_box: take only an answer of the gold answer's kind, and no `no solution` where a number is asked for.
    """
    for match in list(pattern.finditer(text, start))[-_MAX_PHRASES:][::-1]:
        said = _statement(text[match.end() :])
        clause = re.split(r"[.,;:!?\n]", text[max(0, match.start() - 10) : match.start()])[-1] + match[0]
        if said is None or _DENIED.search(clause) or _DENIED.match(text, match.end()):
            continue
        if _is_of(kind, said) or (not outranks_box and (re.search(r"\d", said) or _NO_VALUE.match(said))):
            return _only_letter(said) if kind == "letter" else said
    return None


def _only_letter(said: str) -> str:
    """`la opción D` is D."""
    match = re.fullmatch(r"(?:[^\W\d_]{2,}\W+){0,4}\W*([A-J])(?:[^\x00-\x7f]|\W)*", said)
    return match[1] if match else said


def last_stretch(completion: str) -> str:
    """Where a pattern is searched: the end of the completion, without its reasoning."""
    return (_outside_reasoning(completion, strict=False) or "")[-_TAIL_CHARS:]


def find_by_pattern(pattern: re.Pattern[str], text: str) -> str | None:
    """What the first group of `pattern` matched last; None where it did not."""
    found = None
    for match in pattern.finditer(text):
        found = match[1]
    return found


def _is_bare(text: str) -> bool:
    """Whether a completion is an answer and nothing else."""
    text = text.strip()
    prose = re.search(
        r"(?<![\\a-zA-Z])[a-zA-Z]{2}|[^\W\d_\u0000-\u03ff\u2100-\u214f]|\$.*\w\s*\$\s*\w",
        re.sub(r"\b(?:and|or)\b", ",", text),
    )
    return 0 < len(text) < 200 and "\n" not in text and prose is None


def gold_answer(answer: str) -> str:
    """The gold answer out of its box, or out of the worked solution that it ends."""
    found = list(BOX.finditer(answer))
    if found:
        boxed = boxes(answer)
        return boxed[1] if boxed is not None and boxed[1] else answer[found[-1].end() :].lstrip("{")
    if len(answer) > 200 and len(re.findall(r"[a-z]{3,}", re.sub(r"\\[a-zA-Z]+", "", answer))) > 20:
        stated = find_answer(answer)
        return answer if stated is None else stated.text
    return answer


def refine(answer: str) -> str:
    """The mathematics out of an answer that holds a sentence: `Answer \\[ 9 \\]`, `the total is 1,000.99€`."""
    spans = list(_spans(answer))
    if spans:
        return answer if _is_short(_without(spans, answer)) else _last_mathematics(answer) or answer
    half = re.fullmatch(r"[^$]*[A-Za-z]{3}[^$]*\${1,2}([^$]*[\d\\][^$]*)", answer)
    if half and "\\text" not in answer:  # the other delimiter was lost
        return half[1]
    answer = _COUNTED.sub(r"\1", answer)
    plain = re.sub(r"\\[a-zA-Z]+\s*(?:\{[^{}]*\})?", " ", answer)
    if len(re.findall(r"[^\W\d_]{2,}", plain)) < 3 or not re.search(r"\d", answer):
        return _before_dollar(answer)
    if re.match(r"\s*[-\\$€£(\d]", answer):  # a number with its unit: `12 miles per hour`
        return answer
    if re.search(r"\b(?:is|are)\b", answer):
        return _statement(answer) or answer
    # One that wavers is taken whole, and so is right only if the gold answer says the same.
    return answer if _LISTED.search(answer) or _LEFT_OPEN.search(answer) else _last_mathematics(answer) or answer


_LISTED = re.compile(r"\b(?:and|to)\b|,\s|;", re.IGNORECASE)
_COUNTED = re.compile(
    rf"^(?!.*(?:{OPEN}))(\s*{_NUMBER.pattern}(?:\s+[a-z]+){{1,3}}?)\s+(?:on|in|for|from|at|among|across|over|per|each)\s[^.;?\n]*\d[^.;?\n]*\.?\s*$"
)
"""`36 wheels on 9 cars`: what is counted, and what of."""


def _before_dollar(answer: str) -> str:
    match = re.fullmatch(r"[A-Za-zÀ-ÿ]{3,}\s*:?\s*(" + _NUMBER.pattern + r")[^\d]*", answer.strip())
    return match[1] if match else answer


def _is_short(outside: str) -> bool:
    """Whether the words outside of the mathematics join it or name a unit, rather than make a sentence."""
    outside = re.sub(r"(?:\b(?:and|or)\b|[\s,;.$%])+", " ", outside).strip()
    return len(outside.split()) <= 2 and ":" not in outside and not re.search(r"\b(?:is|are|answer)\b", outside, re.I)


def _outside_reasoning(completion: str, strict: bool) -> str | None:
    """What stands outside of the reasoning, up to the first token that is no text.

    Without anything there, that of the reasoning, unless `strict`; None if the completion was cut off in it.
    """
    tags = list(_REASONING_TAG.finditer(completion))
    cut = _SPECIAL.search(completion, max((tag.end() for tag in tags), default=0))
    while cut is not None and not completion[: cut.start()].strip():
        cut = _SPECIAL.search(completion, cut.end())
    text = completion if cut is None else completion[: cut.start()]
    outside: list[str] = []
    start: int | None = 0  # of what stands outside; None within the reasoning
    for tag in tags:
        if tag["opening"]:
            if start is not None:
                outside.append(text[start : tag.start()])
            start = None
        else:
            if start is not None:
                outside.clear()  # the prompt had opened it
            start = tag.end()
    if start is None:
        return None
    outside.append(text[start:])
    if any(part.strip() for part in outside):
        return "\n".join(outside)
    return None if strict else _REASONING_TAG.sub("", text)


def _spans(text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """Formulas in their delimiters. The two `$` of `6 x $2.50 = $15` are currency signs, and delimit none."""
    while (match := _MATH.search(text, start)) is not None:
        body = match["b"]
        is_money = body is not None and _is_money(body, text[match.end() : match.end() + 1])
        if not is_money:
            yield match
        start = match.start() + 1 if is_money else match.end()


def _is_money(body: str, following: str) -> bool:
    """Whether the two `$` around `body` are no delimiters, by TeX's spacing and by what stands between them."""
    has_words = re.search(r"(?<![\\a-zA-Z])[a-zA-Z]{3}", re.sub(r"\\[a-zA-Z]+\s*\{[^{}]*\}", "", body)) is not None
    if not re.match(r"\s?\d", body):
        return has_words and following.isdigit()
    is_number = re.fullmatch(r"[\d.,\s]+", body) is not None
    return has_words or following.isdigit() or (body[0].isspace() != body[-1].isspace() and not is_number)


def _without(spans: list[re.Match[str]], text: str) -> str:
    for span in reversed(spans):
        text = f"{text[: span.start()]} {text[span.end() :]}"
    return text


def _statement(text: str) -> str | None:
    """The answer that a phrase such as `the answer is` announces: the mathematics of its clause, or its words."""
    text = text.lstrip(" \t\n:：*=\"'")[: 2 * MAX_ANSWER_CHARS]
    first = next(_spans(text), None)
    if first is not None and not text[: first.start()].strip(" *:\"'\\"):
        said = _joined(text, first)
        rest = _SENTENCE_END.split(text[first.start() + len(said) :], maxsplit=1)[0]
        return said + rest if _RETRACTED.match(rest) else said
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0].strip(" *\"'`")
    clause = _CLAUSE_END.split(sentence, maxsplit=1)[0]
    if _RETRACTED.match(sentence, len(clause)):
        return sentence
    copula = None
    for found in re.finditer(r"\b(?:is|are|be|equals)\b:?\s+|=\s*(?=\S)", clause):
        copula = found
    if copula is not None and not re.match(r"[-+\\$(\[\d]", clause):
        rest = clause[copula.end() :]
        return _statement(rest) if rest.strip() else None
    spans = list(_spans(clause))
    if spans:
        return clause if _is_short(_without(spans, clause)) else _joined_backwards(clause, spans)
    numbers = list(_NUMBER.finditer(clause))
    if len(numbers) == 1 and numbers[0][0] != clause and not re.search(r"\\[a-zA-Z]|[=^()\[\]+*<>]", clause):
        before, after = clause[: numbers[0].start()].strip(), clause[numbers[0].end() :].strip()
        if HEDGE.search(before) or HEDGE.search(after):
            return clause
        return clause if not before and len(after.split()) < 4 else numbers[0][0]
    return clause or None


def _joined(text: str, first: re.Match[str]) -> str:
    """The formula that begins a text, with those that are joined to it, and the word behind it (a unit)."""
    end = first.end()
    while joint := _JOINT.match(text, end):
        span = _MATH.match(text, joint.end())
        if span is None:
            break
        end = span.end()
    unit = re.compile(r" ?(?:\\?%|(?:percent|pct|cm|mm|km|meters?|feet|inches|miles?|dollars?|degrees?)\b)").match(
        text, end
    )
    return text[first.start() : unit.end() if unit else end]


def _joined_backwards(text: str, spans: list[re.Match[str]]) -> str:
    """The last formula of a text, with those before that are joined to it."""
    start = _start_of_list(text, spans)
    unit = re.compile(r"\s?(?:\\?%|(?:percent|pct)\b)").match(text, spans[-1].end())
    return text[start : unit.end() if unit else spans[-1].end()]


def _start_of_list(text: str, parts: list[re.Match[str]]) -> int:
    """Where the list begins that the last of the parts ends."""
    start = parts[-1].start()
    for before, after in zip(reversed(parts[:-1]), reversed(parts[1:]), strict=True):
        if not _JOINT.fullmatch(text, before.end(), after.start()):
            break
        start = before.start()
    return start


_RUN = re.compile(
    r"(?:\\[a-zA-Z]+\s?|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[\d.,]*\d|(?<![a-zA-Z\\])[a-zA-Z](?![a-zA-Z])|[-+*/=^_()|<>!π√]"
    r"|(?<=[-+*/=<>)}\da-z]) (?=[-+*/=<>\\\d(]))+"
)
"""A formula without delimiters, where it holds a LaTeX command or a power."""


_RESULT = re.compile(
    rf"=\s*({_NUMBER.pattern})(?=\s*[a-zA-Z])(?![^=]*\b(?:is|are|was|were|so|then|thus|because|since|gives?|makes?|and|or|not)\b)"
    r"[^=.;,:?!\n]*\.?\s*$"
)
"""What an equation comes to, in a sentence that goes on: `6 * 6 = 36 wheels on 9 cars.`"""


def _last_mathematics(text: str) -> str | None:
    """The last formula or number of a text, whichever ends later, with those that are joined to it."""
    spans = list(_spans(text))
    behind = spans[-1].end() if spans else 0
    runs = [match for match in _RUN.finditer(text, behind) if re.search(r"\\[a-zA-Z]|[\w)]\^|[π√]", match[0])]
    numbers = [match for match in _NUMBER.finditer(text) if match.start() >= behind]
    if runs and (not numbers or numbers[-1].end() <= runs[-1].end()):
        return None if _is_denied(text, runs[-1].start()) else runs[-1][0].strip(" =,.")
    if numbers:
        result = _RESULT.search(text, max(behind, len(text) - 300))
        if result is not None:
            return result[1]
        start = _start_of_list(text, numbers)
        return None if _is_denied(text, start) else text[start : numbers[-1].end()]
    if not spans or _is_denied(text, spans[-1].start()):
        return None
    return _joined_backwards(text, spans)


def _is_denied(text: str, start: int) -> bool:
    """Whether what begins at `start` is said not to be the answer."""
    return _DENIAL.search(text[max(0, start - 80) : start]) is not None
