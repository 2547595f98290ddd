"""Coverage-guided fuzzing of the verifier with atheris: `pip install atheris`, then

    python -m benchmarks.fuzz_grading --seconds 300

Every input is searched for an answer, which is normalised and read, in this process; one in a hundred is also graded,
as it is and in a box, by the grader's own processes. Nothing may raise, take more than a second in this process, or be
called right: the gold answer is a fraction that no input is going to hit on. Ends with the counts as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter

import atheris

with atheris.instrument_imports(include=["lens_core.verify"]):
    from lens_core.verify import Grader, Outcome
    from lens_core.verify.boxes import MAX_ANSWER_CHARS
    from lens_core.verify.extract import find_answer, refine
    from lens_core.verify.normalise import normalise
    from lens_core.verify.structure import TooComplexError, parse

GOLD = "\\frac{48611}{7919}"
SEEDS = (
    "So $x = \\boxed{\\frac{1}{2}}$.",
    "\\boxed{(-\\infty, 3] \\cup \\{5\\}} and \\boxed{\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}}",
    "<think>1</think>The final answer is $3 \\pm \\sqrt{2}$ or 50\\%. I hope it is correct.",
    "#### 1,234.5 dollars",
    "\\boxed{\\text{(C) } x \\in [0, 1) \\text{ or } 1011_2, 2:3, 90^\\circ, 9^{9^9}}",
)


class Fuzzing:
    """One input after the other, until the time is up."""

    def __init__(self, seconds: float, grader: Grader) -> None:
        self._grader = grader
        self._end = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.slowest_s = 0.0

    def __call__(self, data: bytes) -> None:
        text = data.decode("utf-8", "surrogatepass" if len(data) % 2 else "replace") if _decodes(data) else repr(data)
        start = time.monotonic()
        if start > self._end:
            self._finish()
        for completion in (text, f"\\boxed{{{text}}}"):
            answer = find_answer(completion)
            if answer is not None and len(answer.text) <= MAX_ANSWER_CHARS:
                try:
                    parse(normalise(refine(answer.text)))
                except TooComplexError:
                    self.counts["too complex"] += 1
        took = time.monotonic() - start
        self.slowest_s = max(self.slowest_s, took)
        if took > 1:
            raise RuntimeError(f"{took:.1f} s for {text[:2000]!r}")
        self.counts["inputs"] += 1
        if self.counts["inputs"] % 100 == 0:
            self._grade(text)

    def _grade(self, text: str) -> None:
        for verdict in self._grader.grade_many([(text, GOLD), (f"\\boxed{{{text}}}", GOLD)]):
            self.counts[verdict.outcome.value] += 1
            if verdict.outcome is Outcome.CORRECT or "the grader failed" in verdict.reason:
                raise RuntimeError(f"{verdict} for {text[:2000]!r}")

    def _finish(self) -> None:
        self._grader.close()
        print(json.dumps({**self.counts, "slowest_s": round(self.slowest_s, 3)}), flush=True)
        os._exit(0)  # libFuzzer has no way to be told to stop


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    arguments = parser.parse_args()
    fuzzing = Fuzzing(arguments.seconds, Grader(workers=1, timeout_s=2))
    for seed in SEEDS:
        fuzzing(seed.encode())
    atheris.Setup([sys.argv[0], "-max_len=600", "-rss_limit_mb=4096", "-verbosity=0"], fuzzing)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
