"""One method seen closely: an audit of what its scores follow from, and embeddings for a picture.

Whether scores follow from the features that a method is given, and from nothing else: it runs
twice, as a run would run it, and on a copy. In the copy recordings and speakers have random names,
the cache is another, rows are in other orders, and every trial runs in a process of its own.
Features, labels and draws are the same, so a method that looks something up, or remembers one trial
in another, loses by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clser_bench import registry
from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.model import Corpus
from clser_bench.errors import MethodError, SpecError
from clser_bench.problem import Outcome, Trial
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Pair
from clser_bench.run.choice import Say
from clser_bench.run.methods import check_method
from clser_bench.run.plan import Plan, plan
from clser_bench.run.prepare import prepare
from clser_bench.run.request import Request
from clser_bench.run.worker import own_worker
from clser_bench.scoring.metrics import score

Doubles = npt.NDArray[np.float64]

TOLERANCE = 0.5
"""Percent that the mean UAR of a deterministic method may move: sums in another order."""

DEVIATIONS = 4.0
"""Standard errors that the mean of a method with random numbers may move."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A pair, or all pairs, in both runs."""

    pair: Pair | None  # None for all
    plain: float  # mean UAR as a run gives it, percent
    copied: float  # of the copy
    allowed: float  # by how much they may differ

    @property
    def agrees(self) -> bool:
        """Whether they differ by no more than is allowed."""
        return abs(self.plain - self.copied) <= self.allowed


def audit(
    request: Request, *, progress: Progress = SILENT, say: Say = lambda _: None
) -> tuple[Comparison, ...]:
    """Run the one method of a request both ways; its results file is not touched.

    A comparison a pair, then that of all pairs, which decides; MethodError where a trial fails.
    """
    check_method(request.methods[0])  # before anything is extracted
    made = plan(prepare(request, request.condition, progress=progress, say=say))
    with temporary_folder() as folder:
        copied = plan(prepare(request, request.condition, copy=folder, progress=progress))
        trials = [trial for trial in made.trials if trial.method == request.methods[0]]
        with shown(progress, f"trials of {request.methods[0]}, run twice", 2 * len(trials)):
            plain = _uars(made, trials, request, progress, alone=False)
            other = _uars(copied, trials, request, progress, alone=True)
    deterministic = {info.name: info.deterministic for info in made.methods}
    exact = deterministic[request.methods[0]]
    pairs = dict.fromkeys(trial.pair for trial in trials)
    groups: list[tuple[Pair | None, list[int]]] = [
        (pair, [n for n, trial in enumerate(trials) if trial.pair == pair]) for pair in pairs
    ]
    groups.append((None, list(range(len(trials)))))
    return tuple(_compared(pair, plain[at], other[at], exact=exact) for pair, at in groups)


def _compared(
    pair: Pair | None, plain: np.ndarray, copied: np.ndarray, *, exact: bool
) -> Comparison:
    """Both means, and what the spread of the differences allows."""
    moved = copied - plain
    spread = 0.0 if exact or len(moved) < 2 else moved.std(ddof=1) / np.sqrt(len(moved))
    return Comparison(
        pair=pair,
        plain=float(plain.mean()),
        copied=float(copied.mean()),
        allowed=max(TOLERANCE, DEVIATIONS * float(spread)),
    )


def _uars(
    made: Plan, trials: Sequence[Trial], request: Request, progress: Progress, *, alone: bool
) -> np.ndarray:
    """UAR of each trial, percent."""
    by_place = {_place(trial): trial for trial in made.trials}  # ids hold speakers' names
    own = [by_place[_place(trial)] for trial in trials]
    found: dict[str, list[Outcome]] = {}
    if alone:
        jobs = [[job] for trial in own for job in made.jobs(trial)]
    else:
        ids = {trial.id for trial in own}
        jobs = [list(pack.jobs) for pack in made.packs(open_ids=ids, failed_ids=())]
    for pack in jobs:
        for outcome in own_worker().run(pack, request.means):
            found.setdefault(outcome.id.rpartition("-")[0], []).append(outcome)
        progress.advance(len({job.id.rpartition("-")[0] for job in pack}))
    uars = []
    for trial in own:
        record = score(trial, found[trial.id], made.keys(trial))
        if record.metrics is None:
            raise MethodError(
                f"{trial.method} on {trial.pair}, draw {trial.seed}, "
                f"{'in the copy' if alone else 'as a run gives it'}: {record.status}: "
                f"{record.reason.strip()}"
            )
        uars.append(record.metrics.uar)
    return np.array(uars)


def _place(trial: Trial) -> tuple[object, ...]:
    return trial.method, trial.parameters, trial.pair, trial.shots, trial.seed


@dataclass(frozen=True, eq=False, kw_only=True)
class EmbeddedSide:
    """One side of a trial."""

    corpus: Corpus
    rows: npt.NDArray[np.int64]  # of its utterances [n]
    before: Doubles  # embeddings before training [n, e]
    after: Doubles  # and after it


def embeddings(
    request: Request, seed: int, *, progress: Progress = SILENT, say: Say = lambda _: None
) -> tuple[EmbeddedSide, EmbeddedSide]:
    """Train one trial, in this process, and embed source and target.

    SpecError where more than one of these is named, or the method has no network.
    """
    from clser_bench.train.contract import Trained  # noqa: PLC0415 (torch)
    from clser_bench.train.loop import embed  # noqa: PLC0415 (torch)

    of = {"method": request.methods, "pair": request.pairs, "number of shots": request.shots}
    for what, named in of.items():
        if len(named) != 1:
            raise SpecError(f"embeddings are of one {what}, got {len(named)}")
    if request.condition.unlabelled:
        raise SpecError("embeddings are of the corpora of a pair: leave added corpora out")
    (name,) = request.methods
    method = registry.create(name, request.settings.get(name, {}))
    if not isinstance(method, Trained):
        raise SpecError(f"'{name}' has no network: embeddings are those of trained methods")
    request = request.replace(seeds=seed + 1)
    prepared = prepare(request, request.condition, progress=progress, say=say)
    made = plan(prepared)
    (trial,) = [one for one in made.trials if one.seed == seed]
    job = made.jobs(trial)[0]
    with shown(progress, f"training {name} on {trial.pair}", 1):
        before, after = embed(method, job.problem, job.seed)
    labelled = job.problem.labelled.rows, job.problem.unlabelled
    first, second = prepared.folds(trial)[0].order
    rows = (first[np.sort(np.concatenate(labelled))], second[job.problem.adapt])
    source, target = (
        EmbeddedSide(
            corpus=prepared.corpora[code],
            rows=rows[side],
            before=before[side].double().numpy(),
            after=after[side].double().numpy(),
        )
        for side, code in enumerate((trial.pair.source, trial.pair.target))
    )
    return source, target
