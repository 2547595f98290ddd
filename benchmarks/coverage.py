"""How often the 95 % intervals of an evaluation hold the truth, and those that were not chosen.

    python -m benchmarks.coverage

Problems are drawn from five populations with the same Pass@1, from all equally hard to each always or never solved, and
answered once or 16 times. A cell of the tables is the worst of these ten. Paired differences are those of two policies
of which the second solves, with the same chance on each problem, some that the first does not.
"""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import partial
from itertools import islice, product

import numpy as np
import scipy
from numpy.typing import NDArray
from rich.progress import track
from scipy import stats

from lens_core.evaluation.passk import mean_over_problems

Array = NDArray[np.float64]
Interval = Callable[[Array], tuple[float, float]]
Population = Callable[[np.random.Generator, float, int], Array]
"""Chances of problems to be solved by an answer, of a mean and a number."""

RUNS = 4000
"""Evaluations a population: a coverage of 0.95 is measured with a standard error of 0.0034."""
BOOTSTRAPPED = 400
"""The same for bootstrap intervals, which take 1,000 times as long: 0.011."""
PROBLEMS = (10, 30, 100, 500)
PASS_AT_1 = (0.05, 0.5, 0.95)
DIFFERENCES = ((0.05, 0.0), (0.05, 0.05), (0.5, 0.0), (0.5, 0.05), (0.9, 0.05))
"""(A's Pass@1, B's less A's)."""
ANSWERS = (1, 16)


def beta(spread: float, rng: np.random.Generator, p: float, size: int) -> Array:
    return rng.beta(p * spread, (1 - p) * spread, size)


POPULATIONS: dict[str, Population] = {
    "all alike": lambda _, p, size: np.full(size, p),
    **{f"beta, a + b = {spread}": partial(beta, spread) for spread in (10, 1, 0.3)},
    "always or never": lambda rng, p, size: (rng.random(size) < p).astype(float),
}


def ours(values: Array) -> tuple[float, float]:
    found = mean_over_problems(values.tolist())
    return found.low, found.high


def ours_paired(differences: Array) -> tuple[float, float]:
    found = mean_over_problems(differences.tolist(), lowest=-1.0)  # what `paired_difference` says
    return found.low, found.high


def student(values: Array) -> tuple[float, float]:
    if np.ptp(values) == 0:
        return values[0], values[0]
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return low, high


def wilson(values: Array) -> tuple[float, float]:
    """For as many independent answers as the problems are worth; each problem is worth one where none differ."""
    mean = values.mean()
    worth = mean * (1 - mean) / stats.sem(values) ** 2 if np.ptp(values) > 0 else len(values)
    z = stats.norm.ppf(0.975)
    centre, half = mean + z**2 / (2 * worth), z * np.sqrt(mean * (1 - mean) / worth + z**2 / (4 * worth**2))
    return (centre - half) / (1 + z**2 / worth), (centre + half) / (1 + z**2 / worth)


def bootstrapped(method: str) -> Interval:
    """SciPy's, and the value alone where all are equal, of which it makes nothing."""

    def interval(values: Array) -> tuple[float, float]:
        if np.ptp(values) == 0:
            return values[0], values[0]
        with np.errstate(invalid="ignore"), warnings.catch_warnings(action="ignore"):  # BCa of hardly any variation
            found = stats.bootstrap((values,), np.mean, n_resamples=1000, method=method, rng=0).confidence_interval
        return found.low, found.high

    return interval


def shares(rng: np.random.Generator, chances: Array, answers: int) -> Array:
    """Of right answers to each problem."""
    return rng.binomial(answers, chances) / answers


def evaluations(draw: Population, p: float, problems: int, answers: int) -> Iterator[Array]:
    """Of one policy, for ever."""
    rng = np.random.default_rng(0)
    while True:
        yield shares(rng, draw(rng, p, problems), answers)


def comparisons(draw: Population, p: float, more: float, problems: int, answers: int) -> Iterator[Array]:
    """Differences of two policies, for ever."""
    rng = np.random.default_rng(0)
    while True:
        first = draw(rng, p, problems)
        second = np.where(rng.random(problems) < more / (1 - p), 1.0, first)
        yield shares(rng, second, answers) - shares(rng, first, answers)


def coverage(interval: Interval, samples: Iterable[Array], truth: float, runs: int) -> float:
    """The share of samples whose interval holds the truth."""
    bounds = (interval(each) for each in islice(samples, runs))
    return float(np.mean([low - 1e-12 <= truth <= high + 1e-12 for low, high in bounds]))


def print_table(title: str, rows: Mapping[str, Mapping[int, float]]) -> None:
    """In Markdown, for docs/evaluation.md."""
    print(f"\n| {title} | {' | '.join(f'{each} problems' for each in PROBLEMS)} |")
    print(f"|---|{'---|' * len(PROBLEMS)}")
    for name, of in rows.items():
        print(f"| {name} | {' | '.join(f'{of[each]:.3f}' for each in PROBLEMS)} |")


def main() -> None:
    populations = list(product(POPULATIONS.values(), ANSWERS))
    rows = {}
    for p in PASS_AT_1:
        rows[f"Pass@1 {p}"] = {
            problems: min(coverage(ours, evaluations(draw, p, problems, n), p, RUNS) for draw, n in populations)
            for problems in track(PROBLEMS, f"Pass@1 {p}")
        }
    for p, more in DIFFERENCES:
        rows[f"difference {more}, from {p}"] = {
            problems: min(
                coverage(ours_paired, comparisons(draw, p, more, problems, n), more, RUNS) for draw, n in populations
            )
            for problems in track(PROBLEMS, f"difference {more}, from {p}")
        }
    print_table("ours", rows)
    rows = {}
    for name, (interval, runs) in OTHERS.items():
        rows[name] = {
            problems: min(
                coverage(interval, evaluations(draw, p, problems, n), p, runs)
                for p, (draw, n) in product(PASS_AT_1, populations)
            )
            for problems in track(PROBLEMS, name)
        }
    print_table("others, of Pass@1", rows)
    print(f"\n{platform.processor() or platform.machine()}, SciPy {scipy.__version__}, {date.today()}")


OTHERS: dict[str, tuple[Interval, int]] = {
    "bootstrap, percentile": (bootstrapped("percentile"), BOOTSTRAPPED),
    "bootstrap, BCa": (bootstrapped("BCa"), BOOTSTRAPPED),
    "Student's t": (student, RUNS),
    "Wilson, clustered": (wilson, RUNS),
}

if __name__ == "__main__":
    main()
