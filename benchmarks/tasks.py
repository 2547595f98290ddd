"""What base policies can do of reasoning-gym's task families: where reinforcement learning has something to begin with.

    python -m benchmarks.tasks BASE [BASE ...] [--families chain_sum word_sorting]

The table has Pass@1 of each family at its default difficulty, with 95 % intervals over problems, best first. Families
that have questions of more than --longest-question characters are left out, as are those that cannot judge
(docs/data.md).
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Sequence
from datetime import date

from lens_core.config import EvaluationConfig, SourceConfig
from lens_core.data.problem import Problem
from lens_core.data.reasoning import reasoning_problems
from lens_core.errors import LensError
from lens_core.evaluation.evaluate import evaluate_policy
from lens_core.evaluation.passk import Estimate
from lens_core.evaluation.summary import summarise


def questions(families: Sequence[str], size: int, longest: int) -> list[Problem]:
    """`size` problems of each family that is fit for it."""
    found: list[Problem] = []
    for family in families:
        source = SourceConfig(kind="reasoning_gym", tasks={family: {}}, size=size)
        try:
            problems = list(reasoning_problems(source))
        except LensError as error:
            print(f"# left out: {error}")
            continue
        if max(len(each.prompt) for each in problems) <= longest:
            found += problems
    return found


def main() -> None:
    from reasoning_gym.factory import DATASETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bases", nargs="+", help="folders in Hugging Face format, or names on a hub")
    parser.add_argument("--families", nargs="+", default=sorted(DATASETS.keys() - {"composite"}))
    parser.add_argument("--problems", type=int, default=8, help="of each family")
    parser.add_argument("--longest-question", type=int, default=600, help="characters")
    parser.add_argument("-n", type=int, default=4, help="completions of each problem")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    args = parser.parse_args()
    config = EvaluationConfig(
        n=args.n, ks=(1,), max_new_tokens=args.max_new_tokens, token_logprobs=False, batch_size=64
    )
    problems = questions(args.families, args.problems, args.longest_question)
    by_base = {}
    for base in args.bases:
        results = [each for batch in evaluate_policy(problems, base, config) for each in batch]
        report = summarise(base, "", results, config.n, config.ks)
        by_base[base] = {part: found.overall[1] for part, found in report.slices["subject"].items()}
    asked = f"{args.n} completions of at most {args.max_new_tokens} tokens"
    print(f"{args.problems} problems a family x {asked}, {date.today()}")
    print(f"{platform.machine()}, Python {platform.python_version()}\n")
    print(f"| family | {' | '.join(args.bases)} |\n|---|{'---|' * len(args.bases)}")
    best = by_base[args.bases[-1]]
    for family in sorted(best, key=lambda name: -best[name].estimate):
        print(f"| {family} | {' | '.join(_shown(by_base[base][family]) for base in args.bases)} |")


def _shown(share: Estimate) -> str:
    return f"{100 * share.estimate:.0f} [{100 * share.low:.0f}, {100 * share.high:.0f}]"


if __name__ == "__main__":
    main()
