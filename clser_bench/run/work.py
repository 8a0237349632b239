"""What of some plans is not stored yet, and its execution."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clser_bench.problem import Outcome, Trial
from clser_bench.progress import Progress
from clser_bench.run import local
from clser_bench.run.config import RunConfig
from clser_bench.run.packs import Pack, longest_first
from clser_bench.run.plan import Plan
from clser_bench.run.quiet import ray_environment
from clser_bench.run.where import where
from clser_bench.scoring.metrics import score
from clser_bench.scoring.routines import ROUTINES
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store

ATTEMPTS = 2
"""A failed trial is tried once more by the next run."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Work:
    """Trials still to run.

    Attributes:
        trials: how many.
        packs: those of methods, the longest first.
        kept: those of routines, which run in this process.
        plans: the plan of each trial of the plans, by its id.
    """

    trials: int
    packs: tuple[Pack, ...]
    kept: tuple[Trial, ...]
    plans: Mapping[str, tuple[Plan, Trial]]


def left(plans: Sequence[Plan], store: Store) -> Work:
    """Find what is still to run.

    Args:
        plans: what is asked for.
        store: the results so far.

    Raises:
        CorpusError: a class has fewer utterances than shots.
    """
    by_id = {trial.id: (plan, trial) for plan in plans for trial in plan.trials}
    open_ids = set(store.unfinished(list(by_id), attempts=ATTEMPTS))
    packs: list[Pack] = []
    if any(trial.id in open_ids for plan in plans for trial in plan.packed):
        from clser_bench.train.packing import group_key, pack_limit  # noqa: PLC0415 (torch)

        limit = functools.partial(pack_limit, gpu=plans[0].config.gpus_per_pack > 0)
        states = store.stored(list(open_ids))
        failed = {trial for trial, status in states.items() if status == "failed"}
        for plan in plans:
            packs += plan.packs(open_ids=open_ids, failed_ids=failed, grouping=(group_key, limit))
    kept = [trial for plan in plans for trial in plan.kept if trial.id in open_ids]
    for trial in kept:
        by_id[trial.id][0].folds(trial)  # what is wrong with them is said before anything runs
    return Work(trials=len(open_ids), packs=longest_first(packs), kept=tuple(kept), plans=by_id)


def execute(work: Work, config: RunConfig, store: Store, *, progress: Progress) -> None:
    """Run what is left, and store each pack as soon as it is finished.

    Args:
        work: what is left.
        config: its scheduler, number of workers and wish for joules are used.
        store: the results.
        progress: told about finished trials.
    """

    def done(pack: Pack, outcomes: Sequence[Outcome]) -> None:
        folds: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            folds.setdefault(outcome.id.rpartition("-")[0], []).append(outcome)
        records = []
        for name, parts in folds.items():
            plan, trial = work.plans[name]
            records.append(score(trial, parts, plan.keys(trial), pack=pack.name))
        store.put(records)
        progress.advance(len(records))

    means = where(config, len(work.packs))
    if config.scheduler == "local":
        local.run_packs(work.packs, done=done, device=means.device, energy=means.energy)
    elif work.packs:
        with ray_environment(means.workers or len(work.packs), joins=bool(means.address)):
            from clser_bench.run.ray_tune.packs import run_packs  # noqa: PLC0415 (ray is slow)

            run_packs(work.packs, where=means, done=done)
    for trial in work.kept:
        store.put([_solved(*work.plans[trial.id])])
        progress.advance()


def _solved(plan: Plan, trial: Trial) -> Record:
    """The record of a routine's trial; here, where the answers are."""
    folds = plan.folds(trial)
    try:
        outcomes = ROUTINES[trial.method].solve(folds)
    except Exception:  # noqa: BLE001
        # As for a method: it is that trial's failure, stored with its traceback.
        outcomes = [Outcome(id="", status="failed", reason=traceback.format_exc())]
    return score(trial, outcomes, plan.keys(trial))
