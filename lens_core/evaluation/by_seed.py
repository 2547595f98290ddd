"""What trainings of several methods with the same seeds say: means, paired differences, and how sure they are.

A unit is a training, not a problem: two trainings of one method differ by more than their test problems do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lens_core.evaluation.paired import holm, sign_flip_p


@dataclass(frozen=True)
class Mean:
    """A mean over seeds with its 95 % t interval; NaN bounds where there is one seed only."""

    mean: float
    low: float
    high: float
    seeds: int


FEWEST_SEEDS = 6
"""With fewer no sign-flip test reaches p < 0.05: its smallest p is 2 / 2^seeds."""


@dataclass(frozen=True)
class Difference:
    """A method minus the reference, seed by seed."""

    mean: Mean
    p: float
    """Of `sign_flip_p`."""
    p_holm: float
    """The same after Holm's correction for the comparisons of one table: all methods, for one k or one level."""


def mean_over_seeds(values: Sequence[float], level: float = 0.95) -> Mean:
    """The mean with Student's t interval.

    Raises:
        ValueError: if there is no value.
    """
    if not values:
        raise ValueError("values is empty: there is no seed to average over")
    sample = np.asarray(values, dtype=float)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Mean(mean, float("nan"), float("nan"), 1)
    error = float(stats.sem(sample))
    if error == 0:
        return Mean(mean, mean, mean, len(sample))
    low, high = stats.t.interval(level, len(sample) - 1, loc=mean, scale=error)
    return Mean(mean, float(low), float(high), len(sample))


def paired_differences(values: Mapping[str, Mapping[int, float]], reference: str) -> dict[str, Difference]:
    """Every method against `reference` over the seeds that both have; methods without a common seed are left out.

    Args:
        values: method -> seed -> result.
    """
    pairs = {
        method: [results[each] - values[reference][each] for each in sorted(results.keys() & values[reference].keys())]
        for method, results in values.items()
        if method != reference
    }
    pairs = {method: differences for method, differences in pairs.items() if differences}
    ps = [sign_flip_p(differences) for differences in pairs.values()]
    return {
        method: Difference(mean_over_seeds(differences), p, corrected)
        for (method, differences), p, corrected in zip(pairs.items(), ps, holm(ps), strict=True)
    }


def tokens_to_reach(history: Sequence[Mapping[str, float]], target: float, window: int = 10) -> float | None:
    """Completion tokens generated until the mean reward of `window` batches in a row has first reached `target`.

    The reward of sampled answers is the policy's Pass@1 on the training problems, measured as it trains. None where it
    was never reached.
    """
    rewards = np.array([step["reward"] for step in history])
    if len(rewards) < window:
        return None
    means = np.convolve(rewards, np.ones(window) / window, mode="valid")
    reached = np.flatnonzero(means >= target)
    return float(history[int(reached[0]) + window - 1]["lens/tokens/generated"]) if len(reached) else None
