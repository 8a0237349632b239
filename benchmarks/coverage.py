"""How often 95 % intervals hold the truth, in simulations of a suite of four corpora.

    python benchmarks/coverage.py [--simulations 1000]

Twelve pairs. Each speaker of a target and each draw of a source has random effects, which all
pairs of that target and of that source share. Every effect is symmetric and bounded, so no recall
is cut off at 0 or 1 and the truth is known exactly. In the last rows each draw has a target of its
own too, with class shares from a Dirichlet distribution, and an effect of that.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from clser_bench.protocol import Pair
from clser_bench.report.statistics import Counts, Interval, simultaneous, spread

Reals = npt.NDArray[np.float64]

CLASSES, SIZE = 5, 14
CORPORA = "BCRO"
PAIRS = tuple(Pair(s, t) for s, t in itertools.permutations(CORPORA, 2))
OFFSETS = np.linspace(-0.08, 0.08, len(PAIRS))
"""What is true of each pair beyond its speakers and draws; the mean is zero."""
TRUTH = 45.0
SPEAKERS = ((6, 10, 4, 24), (4, 4, 4, 4))
DRAWS = (5, 10)
FAMILY = 8
"""Methods of the simulated family, all equally good."""


def effect(rng: np.random.Generator, sd: float, *shape: int) -> Reals:
    """Normal numbers of one standard deviation, cut off at two on both sides."""
    drawn = rng.standard_normal(shape)
    while (far := np.abs(drawn) > 2).any():
        drawn[far] = rng.standard_normal(far.sum())
    return sd * drawn


def simulated(
    rng: np.random.Generator,
    speakers: Mapping[str, int],
    draws: int,
    *,
    own: float = 1.0,
    methods: int = 2,
    resampled: bool = False,
) -> list[list[Counts]]:
    """Counts of some methods, each with a true mean of 45 %.

    The effects are those of speaker, speaker x class, draw, draw x class, and, in a pair, of
    speaker x draw. Sizes are such that the parts of the variance of a mean are about those seen
    on real speech at 5 shots: 0.3 from speakers, 0.65 from draws.

    Args:
        rng: the source of chance.
        speakers: corpus code to number of speakers.
        draws: their number.
        own: share of each effect's variance that is the method's own; 1 makes methods
            independent.
        methods: their number.
        resampled: whether each draw has other utterances of the target.
    """

    def all_of(sd: float, *shape: int) -> Reals:
        common = effect(rng, sd * math.sqrt(1 - own), 1, *shape)
        return common + effect(rng, sd * math.sqrt(own), methods, *shape)

    voices = {c: all_of(0.032, n, 1, 1) + all_of(0.04, n, CLASSES, 1) for c, n in speakers.items()}
    of_draw = 0.02 if resampled else 0.04  # the rest is the target's
    shots = {c: all_of(of_draw, 1, 1, draws) + all_of(0.05, 1, CLASSES, draws) for c in speakers}
    totals = {c: np.full((n, CLASSES, draws), SIZE) for c, n in speakers.items()}
    drawn = {c: np.zeros((1, 1, 1, 1)) for c in speakers}
    if resampled:
        drawn = {c: all_of(0.02, 1, 1, draws) for c in speakers}
        totals = {c: thinned(rng, n, draws) for c, n in speakers.items()}
    made: list[list[Counts]] = [[] for _ in range(methods)]
    for pair, offset in zip(PAIRS, OFFSETS, strict=True):
        n = speakers[pair.target]
        recall = TRUTH / 100 + offset + voices[pair.target] + shots[pair.source]
        recall = recall + all_of(0.02, n, 1, draws) + drawn[pair.target]
        total = totals[pair.target]
        for method, chance in zip(made, recall, strict=True):
            method.append(
                Counts(
                    pair=pair,
                    seeds=tuple(range(draws)),
                    speakers=tuple(f"s{row}" for row in range(n)),
                    correct=rng.binomial(total, chance).astype(np.float64),
                    total=total.astype(np.float64),
                )
            )
    return made


def thinned(rng: np.random.Generator, speakers: int, draws: int) -> npt.NDArray[np.int64]:
    """Utterances [speakers, classes, draws] of a target that is resampled for each draw.

    The most frequent class has all its utterances, the others a share of theirs, at least 2.
    """
    total = np.zeros((speakers, CLASSES, draws), dtype=np.int64)
    for draw in range(draws):
        shares = rng.dirichlet(np.ones(CLASSES))
        kept = np.maximum(2, (speakers * SIZE * shares / shares.max()).astype(int))
        for place, count in enumerate(kept):
            sizes = np.full(speakers, SIZE)
            total[:, place, draw] = rng.multivariate_hypergeometric(sizes, count)
    return total


def coverage(
    sizes: tuple[int, ...],
    draws: int,
    simulations: int,
    *,
    seed: int = 20260,
    resampled: bool = False,
) -> dict[str, float]:
    """Coverage in percent of each kind of interval, and of a whole family at once.

    Args:
        sizes: speakers of the four corpora.
        draws: their number.
        simulations: their number.
        seed: of the simulations.
        resampled: whether each draw has other utterances of the target.
    """
    rng = np.random.default_rng(seed)
    speakers = dict(zip(CORPORA, sizes, strict=True))
    back = PAIRS.index(Pair(PAIRS[0].target, PAIRS[0].source))
    direction = float(100 * (OFFSETS[0] - OFFSETS[back]))
    drawn = ("source", "target") if resampled else ("source",)
    hits: dict[str, list[bool]] = {}
    for _ in range(simulations):
        one, other, *_ = family = simulated(
            rng, speakers, draws, own=0.3, methods=FAMILY, resampled=resampled
        )
        whole = spread({str(row): items for row, items in enumerate(family)}, drawn=drawn)
        place = int(rng.integers(len(PAIRS)))
        cell = spread({"0": one[place : place + 1], "1": other[place : place + 1]}, drawn=drawn)
        both = spread({"0": [one[0], one[back]]}, weights=(1, -1), drawn=drawn)
        compared = simultaneous([(whole, [(str(row), "0") for row in range(1, FAMILY)])])
        found = {
            "mean": _holds(whole.mean("0"), TRUTH),
            "difference": _holds(whole.difference("0", "1"), 0),
            "cell of a mean": _holds(cell.mean("0"), TRUTH + 100 * OFFSETS[place]),
            "cell of a difference": _holds(cell.difference("0", "1"), 0),
            "direction": _holds(both.mean("0"), direction),
            "family": all(_holds(item, 0) for item in compared.values()),
        }
        for name, value in found.items():
            hits.setdefault(name, []).append(value)
    return {name: 100 * float(np.mean(values)) for name, values in hits.items()}


def _holds(interval: Interval, truth: float) -> bool:
    if interval.low is None or interval.high is None:
        return False
    return interval.low <= truth <= interval.high


def main() -> None:
    """Print a table of coverages."""
    parser = argparse.ArgumentParser(description="Simulated coverage of 95 % intervals, in %.")
    parser.add_argument("--simulations", type=int, default=1000)
    number = parser.parse_args().simulations
    error = 100 * math.sqrt(0.95 * 0.05 / number)
    print(f"{number} simulations a row; standard error {error:.1f} points", flush=True)
    for resampled, sizes, draws in itertools.product((False, True), SPEAKERS, DRAWS):
        found = coverage(sizes, draws, number, resampled=resampled)
        cells = "  ".join(f"{name} {value:.1f}" for name, value in found.items())
        about = f"speakers {sizes}, {draws} draws{', resampled targets' * resampled}"
        print(f"{about}:  {cells}", flush=True)


if __name__ == "__main__":
    main()
