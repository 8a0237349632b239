"""Embeddings of one trial before and after adaptation, for a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clser_bench import registry
from clser_bench.corpora.model import Corpus
from clser_bench.errors import SpecError
from clser_bench.progress import SILENT, Progress
from clser_bench.run.choice import Say
from clser_bench.run.plan import plan
from clser_bench.run.prepare import prepare
from clser_bench.run.request import Request

Doubles = npt.NDArray[np.float64]


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

    for what, named in (
        ("method", request.methods),
        ("pair", request.pairs),
        ("number of shots", request.shots),
    ):
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
    progress.start(f"training {name} on {trial.pair}", 1)
    before, after = embed(method, job.problem, job.seed)
    progress.stop()
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
