"""The embeddings of one trial before and after adaptation, with what a picture tells of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clser_bench import registry
from clser_bench.corpora.model import Corpus
from clser_bench.errors import SpecError
from clser_bench.files import cache_folder
from clser_bench.progress import SILENT, Progress
from clser_bench.run.cards import read_cards
from clser_bench.run.choice import Say
from clser_bench.run.config import RunConfig
from clser_bench.run.ground import prepare
from clser_bench.run.plan import plan_of

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """One side of a trial.

    Attributes:
        corpus: the corpus.
        rows: of its utterances [n].
        before: embeddings before training [n, e].
        after: and after it.
    """

    corpus: Corpus
    rows: npt.NDArray[np.int64]
    before: Doubles
    after: Doubles


def embeddings(
    config: RunConfig, seed: int, *, progress: Progress = SILENT, say: Say = lambda _: None
) -> tuple[Seen, Seen]:
    """Train one trial and look at both its sides.

    Args:
        config: names one trained method, one pair and one number of shots.
        seed: number of the draw.
        progress: told about reading and extraction.
        say: told lines for the user.

    Returns:
        Source and target.

    Raises:
        SpecError: more than one of these is named, or the method has no network.
        ClserError: anything else that is wrong with the request.
    """
    from clser_bench.train.contract import Trained  # noqa: PLC0415 (torch)
    from clser_bench.train.loop import embed  # noqa: PLC0415 (torch)

    for what, named in (
        ("method", config.methods),
        ("pair", config.pairs),
        ("number of shots", config.shots),
    ):
        if len(named) != 1:
            raise SpecError(f"embeddings are of one {what}, got {len(named)}")
    (name,) = config.methods
    settings = {method: dict(values) for method, values in config.settings}
    method = registry.create(name, settings.get(name, {}))
    if not isinstance(method, Trained):
        raise SpecError(f"'{name}' has no network: embeddings are those of trained methods")
    config = dataclasses.replace(config, seeds=seed + 1)
    cache = cache_folder()
    ground = prepare(config, config.condition, cache=cache, progress=progress, say=say)
    plan = plan_of(ground, ((0, card) for card in read_cards([name], settings, cache=cache)))
    (trial,) = [one for one in plan.trials if one.seed == seed]
    job = plan.jobs(trial)[0]
    progress.start(f"training {name} on {trial.pair}", 1)
    before, after = embed(method, job.problem, job.seed)
    progress.stop()
    known = job.problem.labelled.rows, job.problem.unlabelled
    rows = (np.sort(np.concatenate(known)), np.asarray(job.problem.adapt))
    codes = trial.pair.source, trial.pair.target
    source, target = (
        Seen(
            corpus=ground.corpora[code],
            rows=rows[side],
            before=before[side].double().numpy(),
            after=after[side].double().numpy(),
        )
        for side, code in enumerate(codes)
    )
    return source, target
