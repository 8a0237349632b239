"""A run from request to records: plan, execute, score, store."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from clser_bench.data.progress import SILENT, Progress
from clser_bench.features.workers import cores
from clser_bench.run import local
from clser_bench.run.choice import Say
from clser_bench.run.config import RunConfig
from clser_bench.run.packs import Pack
from clser_bench.run.plan import Plan, make_plan
from clser_bench.run.quiet import ray_environment
from clser_bench.scoring.metrics import score
from clser_bench.store.database import Store
from clser_bench.store.records import MethodNote
from clser_bench.trial import Outcome

ATTEMPTS = 2
"""A failed trial is tried once more by the next run."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Attributes:
        results: the results file.
        suite: name of the suite.
        selection: how hyper-parameters were chosen.
        planned: trials asked for.
        found: of them, stored before.
        ok: of them, stored with a score by now, whether by this run or before.
        failed: of them, failed; whether in this run or before.
        not_applicable: of them, with a reason why there can be no score.
        interrupted: stopped by Ctrl-C or SIGTERM; the same command goes on.
    """

    results: Path
    suite: str
    selection: str
    planned: int
    found: int
    ok: int
    failed: int
    not_applicable: int
    interrupted: bool = False


def run(
    config: RunConfig,
    *,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Summary:
    """Do what a request asks for, as far as it is not stored already.

    Args:
        config: the request.
        progress: told about reading, extraction and trials.
        say: told lines for the user.

    Raises:
        ClserError: anything that is wrong with the request, before any trial runs.
        KeyboardInterrupt: interrupted before the first trial.
    """
    with _terminable():
        plan = make_plan(config, progress=progress, say=say)
        with Store(config.results) as store:
            return _run(plan, store, progress=progress)


def _run(plan: Plan, store: Store, *, progress: Progress) -> Summary:
    ids = [trial.id for trial in plan.trials]
    open_ids = set(store.unfinished(ids, attempts=ATTEMPTS))
    packs = _packs(plan, store, open_ids)
    _remember(plan, store)
    interrupted = False
    if packs:
        progress.start(f"trials of suite {plan.suite}", len(open_ids))
        try:
            _execute(packs, plan, store, progress=progress)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            progress.stop()
    return _summary(plan, store, ids, found=len(ids) - len(open_ids), interrupted=interrupted)


def _packs(plan: Plan, store: Store, open_ids: Collection[str]) -> tuple[Pack, ...]:
    if not open_ids:
        return ()
    from clser_bench.train.packing import group_key, pack_limit  # noqa: PLC0415 (imports torch)

    failed = {trial for trial, status in store.stored(list(open_ids)).items() if status == "failed"}
    return plan.packs(open_ids=open_ids, failed_ids=failed, grouping=(group_key, pack_limit))


def _remember(plan: Plan, store: Store) -> None:
    """Store what is asked for, so that tables know their holes and `resume` the options."""
    store.plan(
        plan.suite,
        plan.trials,
        pairs=plan.table,
        config=plan.config.as_json(),
        methods={
            card.name: MethodNote(assumes_prior=card.assumes_prior, role=card.role, note=card.note)
            for card in plan.cards
        },
    )
    store.put_skipped(plan.skipped)


def _execute(packs: Sequence[Pack], plan: Plan, store: Store, *, progress: Progress) -> None:
    by_id = {trial.id: trial for trial in plan.trials}

    def done(pack: Pack, outcomes: Sequence[Outcome]) -> None:
        folds: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            folds.setdefault(outcome.id.rpartition("-")[0], []).append(outcome)
        store.put(
            [
                score(by_id[trial], parts, plan.keys(by_id[trial]), pack=pack.name)
                for trial, parts in folds.items()
            ]
        )
        progress.advance(len(folds))

    workers = min(plan.config.workers or cores(), len(packs))
    if plan.config.scheduler == "local":
        local.run_packs(packs, done=done)
        return
    with ray_environment(workers):
        from clser_bench.run import tune  # noqa: PLC0415 (ray: only when it has work)

        tune.run_packs(packs, workers=workers, done=done)


def _summary(
    plan: Plan, store: Store, ids: Sequence[str], *, found: int, interrupted: bool
) -> Summary:
    states = list(store.stored(ids).values())
    return Summary(
        results=plan.config.results,
        suite=plan.suite,
        selection=plan.protocol.selection,
        planned=len(ids),
        found=found,
        ok=states.count("ok"),
        failed=states.count("failed"),
        not_applicable=states.count("not_applicable"),
        interrupted=interrupted,
    )


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
