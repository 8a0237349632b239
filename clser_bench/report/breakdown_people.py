"""Whether methods fail where people fail: correlations of utterances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from scipy.stats import spearmanr

_FEWEST = 3  # utterances of a correlation


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's correlation of people's rate and the share of draws in which a method is right.

    Attributes:
        rho: None where one of the two does not vary.
        low: lower end of a 95 % interval by the jackknife over speakers; None on single pairs.
        high: upper end.
        n: utterances.
        within: whether it is within each emotion, averaged by number of utterances.
    """

    rho: float | None
    low: float | None
    high: float | None
    n: int
    within: bool


def correlations_of(rows: pd.DataFrame, *, whole: bool) -> tuple[Correlation, ...]:
    """Correlations with people, over all emotions and within them.

    Args:
        rows: as `Reader.rows`, with how many listeners recognised the emotion.
        whole: whether the rows are of all pairs; only then there are intervals.
    """
    keys = ["name", "speaker", "true", "human"]
    shares = rows.groupby(["pair", *keys]).right.mean().groupby(keys).mean().reset_index()
    found = []
    for measure in (_rho, _rho_within):
        low, high = _jackknife(measure, shares) if whole else (None, None)
        found.append(
            Correlation(
                rho=measure(shares),
                low=low,
                high=high,
                n=len(shares),
                within=measure is _rho_within,
            )
        )
    return tuple(found)


def _rho(shares: pd.DataFrame) -> float | None:
    human, right = shares.human.to_numpy(np.float64), shares.right.to_numpy(np.float64)
    if len(human) < _FEWEST or not np.ptp(human) or not np.ptp(right):
        return None
    return float(spearmanr(human, right).statistic)


def _rho_within(shares: pd.DataFrame) -> float | None:
    """Mean over the emotions in which it is defined, by number of utterances."""
    found = [(_rho(of_emotion), len(of_emotion)) for _, of_emotion in shares.groupby("true")]
    defined = [(rho, size) for rho, size in found if rho is not None]
    if not defined:
        return None
    return sum(rho * size for rho, size in defined) / sum(size for _, size in defined)


def _jackknife(
    measure: Callable[[pd.DataFrame], float | None], shares: pd.DataFrame
) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of a correlation: a speaker at a time is left out."""
    whole = measure(shares)
    speakers = shares.speaker.unique()
    left = [measure(shares[shares.speaker != speaker]) for speaker in speakers]
    defined = [rho for rho in left if rho is not None]
    if whole is None or len(speakers) < 2 or len(defined) < len(left):
        return None, None
    count = len(defined)
    error = np.sqrt((count - 1) * np.var(defined))
    half = float(error * stdtrit(count - 1, 0.975))
    return max(-1.0, whole - half), min(1.0, whole + half)
