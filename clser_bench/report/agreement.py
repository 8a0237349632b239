"""How two cards of one table agree, cell by cell.

The draws of both cards are the same, so what they differ by is not chance but rounding, other
library code, or other input. A cell is

- `identical` where every draw has the same UAR (or both have none, for the same reason);
- `within noise` where the paired differences scatter around zero: their mean is not significant
  (t test over the draws, Holm over all cells that are not identical, 5 %), and no single draw is
  off by more than two standard deviations of the draws (of all pairs of that method together);
- `different` else, and where one draw alone differs: it has no spread to compare with.

Without Holm's correction, at five draws one cell in nine would be called different by chance. The
mean over the pairs is among the cells, so that a small shift that all pairs share is found.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from clser_bench.problem import Value
from clser_bench.report.provenance import Card, CardCell, CardMethod, Software
from clser_bench.report.statistics import SIGNIFICANT

IDENTICAL, NOISE, DIFFERENT = "identical", "within noise", "different"
MEAN = "mean"

_EXACT = 1e-9  # points of UAR: the last bits of a mean of recalls
_WIDEST = 2.0

Draws = Mapping[int, float]
"""UAR in percent by seed."""


@dataclass(frozen=True, kw_only=True)
class CellAgreement:
    """How a cell agrees with the card."""

    method: str
    pair: str  # the pair, or `mean` for the mean over all
    verdict: str
    n: int = 0  # draws that both have
    # mean over these draws of the UAR here minus the card's, in points; None if missing
    shift: float | None = None
    # largest absolute difference of a draw, in points; None if missing
    largest: float | None = None
    p: float | None = None  # of the shift, not yet corrected; None where that is not what decides
    reason: str = ""  # why it is different where that is not the shift


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How a table agrees with the card."""

    # by method and pair, as in the card; each method's mean over the pairs after them
    cells: tuple[CellAgreement, ...]
    # codes of corpora whose audio, labels, features or normalisation differ
    corpora: tuple[str, ...]
    changes: tuple[str, ...]  # what differs of methods, a line each: versions, hyper-parameters

    def count(self, verdict: str) -> int:
        """How many cells are identical, within noise or different."""
        return sum(cell.verdict == verdict for cell in self.cells)


def compare(card: Card, found: Card) -> Agreement:
    """Compare what was found with what a card says; see the module for the rule.

    Imported rows of the card are left out.
    """
    methods = {method.method: method for method in found.methods}
    here = {pair.pair: pair for pair in found.pairs}
    cells: list[CellAgreement] = []
    for method in card.methods:
        if not method.imported:
            mine = methods.get(method.method)
            own = dict(zip(here, mine.cells, strict=True)) if mine else {}
            theirs = [own.get(pair.pair) for pair in card.pairs]
            cells += _row(card, method, theirs, seeds=mine.seeds if mine else ())
    both = [(pair, here[pair.pair]) for pair in card.pairs if pair.pair in here]
    keys = [(old.source, old.source_key, new.source_key) for old, new in both]
    keys += [(old.target, old.target_key, new.target_key) for old, new in both]
    corrected = iter(holm([cell.p for cell in cells if cell.p is not None]))
    return Agreement(
        cells=tuple(
            cell
            if cell.p is None or next(corrected) < SIGNIFICANT
            else dataclasses.replace(cell, verdict=NOISE)
            for cell in cells
        ),
        corpora=tuple(sorted({code for code, old, new in keys if old and new and old != new})),
        changes=tuple(_changes(card, methods)),
    )


def other_software(card: Software, here: Software) -> Iterator[str]:
    """What the card was written with and is another version here, a line each."""
    claimed, have = (
        {"clser-bench": s.clser_bench, "commit": s.commit, "Python": s.python, **s.packages}
        for s in (card, here)
    )
    for name, version in claimed.items():
        if version and have.get(name, "") != version:
            yield f"{name}: {version} in the card, {have.get(name) or 'none'} here"
    if card.modified or here.modified:
        whose = [who for who, its in (("card", card), ("one", here)) if its.modified]
        yield f"code with changes of its own, in no commit: that of this {' and this '.join(whose)}"


def _row(
    card: Card, method: CardMethod, found: Sequence[CardCell | None], *, seeds: Sequence[int]
) -> Iterator[CellAgreement]:
    here = [_draws(seeds, cell.uars) if cell else {} for cell in found]
    claimed = [_draws(method.seeds, cell.uars) for cell in method.cells]
    variances = [np.var(list(draws.values()), ddof=1) for draws in here if len(draws) > 1]
    spread = math.sqrt(float(np.mean(variances))) if variances else 0.0
    of_pairs = zip(card.pairs, method.cells, found, claimed, here, strict=True)
    for pair, cell, other, old, new in of_pairs:
        why = _unlike(cell, other, old, new)
        made = CellAgreement(
            method=method.method, pair=str(pair.pair), verdict=DIFFERENT, reason=why
        )
        yield made if why else _compared(made, old, new, spread=spread)
    shared = set(claimed[0]) if claimed else set()
    if len(claimed) > 1 and shared and all(set(draws) == shared for draws in (*claimed, *here)):
        old, new = (
            {seed: float(np.mean([draws[seed] for draws in side])) for seed in shared}
            for side in (claimed, here)
        )
        spread = float(np.std(list(new.values()), ddof=1)) if len(shared) > 1 else 0.0
        made = CellAgreement(method=method.method, pair=MEAN, verdict=DIFFERENT)
        yield _compared(made, old, new, spread=spread)


def _draws(seeds: Sequence[int], uars: Sequence[float | None]) -> dict[int, float]:
    return {seed: uar for seed, uar in zip(seeds, uars, strict=True) if uar is not None}


def _unlike(cell: CardCell, found: CardCell | None, claimed: Draws, here: Draws) -> str:
    """Why a cell cannot be compared by its draws; empty where it can."""
    if found is None:
        return "not made here"
    values = list(claimed.values())
    if cell.n != len(values) or (
        cell.mean is not None and (not values or abs(cell.mean - np.mean(values)) > _EXACT)
    ):
        return "the card's mean does not follow from its draws"
    if cell.status != found.status:
        return f"{cell.status} in the card, {found.status} here: {found.reason or cell.reason}"
    if set(claimed) != set(here):
        seeds = ", ".join(map(str, sorted(set(claimed) ^ set(here))[:5]))
        return f"only one of both has draws {seeds}"
    return ""


def _compared(made: CellAgreement, claimed: Draws, here: Draws, *, spread: float) -> CellAgreement:
    """Compare the same draws; the p value is still to be corrected."""
    if not claimed:
        return dataclasses.replace(made, verdict=IDENTICAL, reason="no result in either")
    gaps = np.array([here[seed] - claimed[seed] for seed in sorted(claimed)])
    shift, largest = float(gaps.mean()), float(np.abs(gaps).max())
    made = dataclasses.replace(made, n=len(gaps), shift=shift, largest=largest)
    if largest <= _EXACT:
        return dataclasses.replace(made, verdict=IDENTICAL)
    if len(gaps) == 1:
        return dataclasses.replace(made, reason="one draw has no spread to compare with")
    if largest > _WIDEST * spread:
        return dataclasses.replace(made, reason=f"a draw is off by more than {_WIDEST:g} sd")
    error = float(gaps.std(ddof=1)) / math.sqrt(len(gaps))
    t = abs(shift) / error if error > _EXACT else math.inf
    return dataclasses.replace(made, p=2 * float(stdtr(len(gaps) - 1, -t)))


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Correct the p values of a family for their number by Holm's step-down rule, at most 1."""
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=np.float64)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(adjusted.tolist())


def _changes(card: Card, methods: Mapping[str, CardMethod]) -> Iterator[str]:
    for claimed in card.methods:
        here = methods.get(claimed.method)
        if here is None:
            continue
        for name in ("version", "engine_version"):
            old, new, what = getattr(claimed, name), getattr(here, name), name.replace("_", " ")
            if old and new and old != new:
                yield f"{claimed.method}: {what} {old} in the card, {new} here"
        pairs = [str(pair.pair) for pair in card.pairs]
        other = [pair for pair in pairs if _point(claimed, pair) != _point(here, pair)]
        if other:
            where = "all pairs" if other == pairs else ", ".join(other)
            yield f"{claimed.method}: other hyper-parameters here for {where}"


def _point(method: CardMethod, pair: str) -> dict[str, tuple[type, Value]]:
    """Hyper-parameters of a pair; 1, 1.0 and true are three values."""
    values = {**method.parameters, **method.of_pairs.get(pair, {})}
    return {name: (type(value), value) for name, value in values.items()}
