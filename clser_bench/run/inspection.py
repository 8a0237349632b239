"""One method or encoder seen closely: an audit, embeddings for a picture, layers compared.

The audit asks whether scores follow from the features that a method is given, and from nothing
else: it runs twice, as a run would run it, and on a copy. In the copy recordings and speakers have
random names, the cache is another, rows are in other orders, and every trial runs in a process of
its own. Features, labels and draws are the same, so a method that looks something up, or remembers
one trial in another, loses by it.

Layers and pools of an encoder are compared by logistic regression, before any method is run. One
pass of the encoder keeps every layer; all else is minutes. The corpora must be those for choosing
(the suite `wide`), never those of a reported table.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clser_bench import registry
from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.definitions import classes_of
from clser_bench.corpora.model import Corpus
from clser_bench.errors import FeatureError, MethodError, SpecError
from clser_bench.features.encoders.models import POOLS
from clser_bench.features.extract import extract_tables
from clser_bench.features.normalise import normalised
from clser_bench.features.sets import FEATURE_SETS, FeatureSet, feature_set, split_joined
from clser_bench.files import cache_folder
from clser_bench.hashing import digest
from clser_bench.problem import Outcome, Table, Trial
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Condition, Normalisation, Pair, Shots
from clser_bench.run.choice import Say
from clser_bench.run.execute import scored
from clser_bench.run.plan import Plan, check_method, plan
from clser_bench.run.prepare import prepare
from clser_bench.run.request import Request
from clser_bench.run.worker import own_worker
from clser_bench.shallow.classifiers import logistic_scores
from clser_bench.shallow.sides import sides_of
from clser_bench.splits import build

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
    name = request.methods[0]
    check_method(name)  # before anything is extracted
    made = plan(prepare(request, request.condition, progress=progress, say=say))
    with temporary_folder() as folder:
        copied = plan(prepare(request, request.condition, copy=folder, progress=progress))
        trials = [trial for trial in made.trials if trial.method == name]
        with shown(progress, f"trials of {name}, run twice", 2 * len(trials)):
            plain = _uars(made, trials, progress, alone=False)
            other = _uars(copied, trials, progress, alone=True)
    exact = {info.name: info.deterministic for info in made.methods}[name]
    pairs: list[Pair | None] = [*dict.fromkeys(trial.pair for trial in trials), None]
    found = []
    for pair in pairs:
        at = [n for n, trial in enumerate(trials) if pair in (None, trial.pair)]
        moved = other[at] - plain[at]
        spread = 0.0 if exact or len(at) < 2 else float(moved.std(ddof=1)) / len(at) ** 0.5
        found.append(
            Comparison(
                pair=pair,
                plain=float(plain[at].mean()),
                copied=float(other[at].mean()),
                allowed=max(TOLERANCE, DEVIATIONS * spread),
            )
        )
    return tuple(found)


def _uars(made: Plan, trials: Sequence[Trial], progress: Progress, *, alone: bool) -> Doubles:
    """UAR of each trial, percent."""

    def place(trial: Trial) -> tuple[object, ...]:  # ids hold speakers' names
        return trial.method, trial.parameters, trial.pair, trial.shots, trial.seed

    by_place = {place(trial): trial for trial in made.trials}
    own = [by_place[place(trial)] for trial in trials]
    by_id = {trial.id: (made, trial) for trial in own}
    outcomes: list[Outcome] = []
    if alone:
        jobs = [[job] for trial in own for job in made.jobs(trial)]
    else:
        jobs = [list(pack.jobs) for pack in made.packs(open_ids=by_id, failed_ids=())]
    for pack in jobs:
        outcomes += own_worker().run(pack, made.request.means)
        progress.advance(len({job.id.rpartition("-")[0] for job in pack}))
    records = {record.trial.id: record for record in scored(outcomes, by_id)}
    uars = []
    for trial in own:
        record = records[trial.id]
        if record.metrics is None:
            raise MethodError(
                f"{trial.method} on {trial.pair}, draw {trial.seed}, "
                f"{'in the copy' if alone else 'as a run gives it'}: {record.status}: "
                f"{record.reason.strip()}"
            )
        uars.append(record.metrics.uar)
    return np.array(uars)


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


@dataclass(frozen=True, eq=False)
class Probed:
    """Recognised utterances of a layer with a pool on a pair."""

    layer: int
    pool: str  # statistics over frames in the summary
    shots: Shots  # labelled utterances of each class
    pair: Pair
    speakers: tuple[str, ...]  # of the target
    correct: Doubles  # recognised utterances [speakers of the target, classes, draws]
    total: Doubles  # scored utterances [speakers of the target, classes, draws]


def layer_sets(name: str) -> tuple[FeatureSet, ...]:
    """Every layer of one encoder, with mean and deviation; FeatureError for any other name."""
    if len(split_joined(name)) > 1 or name in FEATURE_SETS or ":layer=" in name:
        raise FeatureError(f"'{name}' is not one encoder without a layer; layers are compared")
    whole = feature_set(f"{name}:layer=all:pool=mean+sd")
    return tuple(one for one in whole.sources if one.layer is not None)


def probe(
    corpora: Mapping[str, Corpus],
    pairs: Sequence[Pair],
    name: str,
    *,
    shots: Sequence[Shots] = (5, "all"),
    seeds: int = 2,
    normalisation: Normalisation = "corpus",
    progress: Progress = SILENT,
    **extraction: Any,
) -> list[Probed]:
    """Score every layer and pool on every pair, behind the front `axes` (`shallow.sides`).

    What else is given (`skip_bad`, `workers`, `devices`) is for `extract_tables`.
    """
    layers, cache = layer_sets(name), cache_folder()
    extraction |= {"cache": cache, "progress": progress}
    found = {code: extract_tables(corpus, layers, **extraction) for code, corpus in corpora.items()}
    probed = []
    progress.start("layers and pairs", len(layers) * len(pairs))
    for number, features in enumerate(layers):
        statistics = [column.partition("_")[0] for column in features.summary]
        tables = {}
        for code, one in found.items():
            of, speakers = one.tables[number], one.corpus.speakers
            # Logistic regression uses summaries alone.
            raw = Table(digest(["summary", of.key]), of.instants[:, :1], of.summary)
            tables[code] = normalised(raw, how=normalisation, speakers=speakers, cache=cache)
        for pair in pairs:
            source, target = found[pair.source].corpus, found[pair.target].corpus
            names = tuple(np.unique(target.speakers).tolist())
            for pool, count in itertools.product(POOLS, shots):
                columns = [n for n, one in enumerate(statistics) if one in pool.split("+")]
                first, second = (
                    Table(f"{table.key}{pool}", table.instants, table.summary[:, columns])
                    for table in (tables[pair.source], tables[pair.target])
                )
                draws = range(1 if count == "all" else seeds)
                cells = [_counts(source, target, (first, second), count, n) for n in draws]
                correct, total = (np.stack(each, axis=2) for each in zip(*cells, strict=True))
                probed.append(Probed(number, pool, count, pair, names, correct, total))
            progress.advance()
    progress.stop()
    return probed


def _counts(
    source: Corpus, target: Corpus, tables: tuple[Table, Table], shots: Shots, seed: int
) -> tuple[Doubles, Doubles]:
    """Recognised and scored utterances of logistic regression [speakers, classes]."""
    classes = classes_of(source.spec, target.spec)
    (fold,) = build(
        source,
        target,
        classes=classes,
        shots=shots,
        seed=seed,
        condition=Condition(shots=shots),
        tables=lambda *_: tables,
    )
    side = sides_of(fold.problem, front="axes")  # the draws of a pair share its axes
    scores = logistic_scores(side.known, side.y, side.scored, classes=len(classes))
    names = np.unique(target.speakers)
    places = np.searchsorted(names, fold.key.speakers), fold.key.y
    correct, total = np.zeros((2, len(names), len(classes)))
    np.add.at(total, places, 1)
    np.add.at(correct, places, scores.argmax(axis=1) == fold.key.y)
    return correct, total
