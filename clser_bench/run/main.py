"""A run from request to records: plan, execute, score, store."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from clser_bench.corpora.corruptions import Corruption, parse
from clser_bench.errors import SpecError
from clser_bench.problem import Trial
from clser_bench.progress import SILENT, Progress
from clser_bench.protocol import Condition
from clser_bench.run import select
from clser_bench.run.choice import Say
from clser_bench.run.config import RunConfig
from clser_bench.run.plan import Plan, make_plan
from clser_bench.run.sweep.objectives import OBJECTIVES, Objective, refuse_few
from clser_bench.run.work import execute, left
from clser_bench.store.sqlite import Store
from clser_bench.train import energy


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Attributes:
        results: the results file.
        suite: name of the suite.
        condition: of the clean target; nothing is left open in it but the number of shots.
        planned: trials asked for.
        found: of them, stored before.
        ok: of them, stored with a score by now, whether by this run or before.
        failed: of them, failed; whether in this run or before.
        not_applicable: of them, with a reason why there can be no score.
        interrupted: stopped by Ctrl-C or SIGTERM; the same command goes on.
    """

    results: Path
    suite: str
    condition: Condition
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

    With corruptions, the clean condition and each of them is planned for itself, and all are run
    together.

    Args:
        config: the request.
        progress: told about reading, extraction and trials.
        say: told lines for the user.

    Raises:
        ClserError: anything that is wrong with the request, before any trial runs.
        MissingExtraError: joules are asked for, and codecarbon is not installed.
        KeyboardInterrupt: interrupted before the first trial.
    """
    if config.energy:
        energy.require()
    with _terminable():
        criterion = _criterion(config)
        asked = [_planned(config, criterion, None, progress=progress, say=say)]
        asked += [
            _planned(config, criterion, corruption, progress=progress)
            for corruption in parse(*config.corruptions)
        ]
        with Store(config.results) as store:
            plans = [plan for both in asked for plan in both if plan is not None]
            found, interrupted = _run(plans, store, progress=progress)
            for plan, held in () if interrupted else asked:
                _choose(plan, held, criterion, store)
            return _summary(
                [plan for plan, _ in asked], store, found=found, interrupted=interrupted
            )


def _planned(
    config: RunConfig,
    criterion: Objective | None,
    corruption: Corruption | None,
    *,
    progress: Progress,
    say: Say = lambda _: None,
) -> tuple[Plan, Plan | None]:
    """The plan of one condition, and that of its held-out labels where the criterion needs them."""
    plan = make_plan(config, corruption=corruption, progress=progress, say=say)
    if criterion is None or criterion.looks != "source":
        return plan, None
    rules = dataclasses.replace(config.condition, setting="held-out")
    held = make_plan(
        dataclasses.replace(config, condition=rules), corruption=corruption, progress=progress
    )
    return plan, held


def _criterion(config: RunConfig) -> Objective | None:
    """The criterion that chooses points, where one does.

    Raises:
        SpecError: it keeps labels back, and there are too few, or the setting is not the usual.
    """
    name = config.condition.selection
    if name not in OBJECTIVES:
        return None
    for shots in config.shots:
        refuse_few(OBJECTIVES[name], shots)
    if OBJECTIVES[name].looks == "source" and config.condition.setting != "transductive":
        raise SpecError(
            f"--select {name} keeps labels back in the transductive setting; leave --inductive out"
        )
    return OBJECTIVES[name]


def _choose(plan: Plan, held: Plan | None, criterion: Objective | None, store: Store) -> None:
    """Store which points are taken, where the rules ask for a choice."""
    if plan.condition.selection == select.OTHER_PAIRS:
        ids = [trial.id for trial in plan.trials]
        _remember(plan, select.choose(plan.trials, store.uars(ids)), store)
    elif criterion is not None:
        from clser_bench.run.sweep.chosen import choose_by  # noqa: PLC0415 (imports plans)

        _remember(plan, choose_by(criterion, plan, held, store), store)


def run_points(
    configs: Sequence[RunConfig],
    *,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> tuple[Plan, ...]:
    """Run every point of the methods that have several, under one or more sets of rules.

    The workers are started once for all of it. No table shows what is stored here. Targets stay
    clean, whatever corruptions a request names.

    Args:
        configs: a request for each set of rules, all with the same results file, scheduler and
            number of workers.
        progress: told about reading, extraction and trials.
        say: told lines for the user.

    Returns:
        A plan a request; `Plan.trials` are stored by now.

    Raises:
        ClserError: anything that is wrong with a request, before any trial runs.
        KeyboardInterrupt: interrupted; the same call goes on.
    """
    with _terminable():
        plans = [make_plan(config, points=True, progress=progress, say=say) for config in configs]
        with Store(configs[0].results) as store:
            if _run(plans, store, progress=progress)[1]:
                raise KeyboardInterrupt
    return tuple(plans)


def _run(plans: Sequence[Plan], store: Store, *, progress: Progress) -> tuple[int, bool]:
    """Run what is not stored; how many trials were, and whether it was interrupted."""
    work = left(plans, store)
    for plan in plans:
        _remember(plan, plan.trials, store)
        store.put_skipped(plan.skipped)
    interrupted = False
    if work.trials:
        progress.start(f"trials of suite {plans[0].suite}", work.trials)
        try:
            execute(work, plans[0].config, store, progress=progress)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            progress.stop()
    return len(work.plans) - work.trials, interrupted


def _remember(plan: Plan, trials: Sequence[Trial], store: Store) -> None:
    """Store what is asked for, so that tables know their holes and `resume` the options."""
    plain, candidates = select.without_numbers(trials)
    store.plan(
        plan.config.as_json(),
        plain,
        pairs=plan.table,
        methods=plan.notes(trials),
        candidates=candidates,
    )


def _summary(plans: Sequence[Plan], store: Store, *, found: int, interrupted: bool) -> Summary:
    """How the plans of all conditions ended, the clean one first."""
    plan, ids = plans[0], [trial.id for plan in plans for trial in plan.trials]
    states = list(store.stored(ids).values())
    return Summary(
        results=plan.config.results,
        suite=plan.suite,
        condition=plan.condition,
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
