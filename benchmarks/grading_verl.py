"""verl's graders, in a process of their own: pairs as JSON on stdin, what each grader says of them on stdout.

For `benchmarks.grading_graders.verl`, which puts verl's packages first on the path.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec


def _math_reward(completion: str, gold: str) -> bool:
    from verl.utils.reward_score import math_reward

    return bool(math_reward.compute_score(completion, gold) > 0)


def _prime_math(completion: str, gold: str) -> bool:
    from verl.utils.reward_score import prime_math

    return bool(prime_math.compute_score(completion, gold)[0])


def _math_dapo(completion: str, gold: str) -> bool:
    from verl.utils.reward_score import math_dapo

    return bool(math_dapo.compute_score(completion, gold)["acc"])


GRADERS = {"math_reward": _math_reward, "prime_math": _prime_math, "math_dapo": _math_dapo}


def accepts(judge: Callable[[str, str], bool], completion: str, gold: str) -> bool:
    """What verl's reward managers make of a crash: no reward."""
    try:
        return judge(completion, gold.strip("$"))
    except Exception:
        return False


def main() -> None:
    pairs = json.load(sys.stdin)
    said = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name, judge in GRADERS.items():
            if name == "prime_math" and find_spec("pylatexenc") is None:
                print("without verl's prime_math, which needs pylatexenc")
                continue
            judge("\\boxed{1}", "1")  # imports
            start = time.perf_counter()
            accepted = [accepts(judge, completion, gold) for completion, gold in pairs]
            said[name] = {"accepted": accepted, "process_s": time.perf_counter() - start}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
