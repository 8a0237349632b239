"""A run from request to records.

    for pack, outcomes in runner(packs):
        store.put(score(outcomes))

The runner yields what came of each pack as soon as it is finished; scores are computed in this
process, where the answers are, and nowhere else.
"""

from __future__ import annotations

import contextlib
import functools
import math
import traceback
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clser_bench.cleanup import terminable
from clser_bench.corpora.corrupt import parse
from clser_bench.errors import counted
from clser_bench.problem import Outcome, Trial
from clser_bench.progress import SILENT, Progress, shown
from clser_bench.protocol import Condition
from clser_bench.run import selection
from clser_bench.run.choice import Say
from clser_bench.run.plan import Pack, Plan, expand, longest_first, plan
from clser_bench.run.prepare import prepare
from clser_bench.run.request import Request
from clser_bench.run.worker import Means, failures, own_worker
from clser_bench.scoring.metrics import score
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store

ATTEMPTS = 2
"""A failed trial is tried once more by the next run."""

_MANY = 4_000
"""Trials that take two seconds to plan; what is stored of ten times as many does."""

Results = Generator[tuple[Pack, Sequence[Outcome]], float | None, None]
"""What a runner yields; it may be sent the mean UAR of the pack."""

Owners = Mapping[str, tuple[Plan, Trial]]
"""Trials and their plans by the trial's id."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended."""

    results: Path
    condition: Condition  # of clean speech and the first number of shots, with nothing left open
    planned: int  # trials asked for
    found: int  # of them, stored before
    ok: int  # of them, stored with a score by now, whether by this run or before
    failed: int  # of them, failed; whether in this run or before
    not_applicable: int  # of them, with a reason why there can be no score
    interrupted: bool = False  # stopped by Ctrl-C, SIGTERM or SIGHUP; the same command goes on


def run(request: Request, *, progress: Progress = SILENT, say: Say = lambda _: None) -> Summary:
    """Do what a request asks for, as far as it is not stored already.

    With corruptions, clean speech and each of them is planned for itself, and all run together.

    Raises:
        ClserError: anything that is wrong with the request, before any trial runs.
        MissingExtraError: joules are asked for, and codecarbon is not installed.
        KeyboardInterrupt: interrupted before the first trial.
    """
    expand(request.methods)  # an unknown method is refused before anything is read
    if request.energy:
        from clser_bench.train.execute import require_meter  # noqa: PLC0415 (torch)

        require_meter()
    criterion, *_ = [  # refused where one of the numbers of shots is too small for it
        selection.criterion(request.condition.replace(shots=shots)) for shots in request.shots
    ]
    with terminable():
        # of each condition its plan, and that of held-out labels where the criterion needs them
        asked: list[tuple[Plan, ...]] = []
        for corruption in (None, *parse(*request.corruptions)):
            own = functools.partial(prepare, request, corruption=corruption, progress=progress)
            prepared = own(request.condition, say=(lambda _: None) if asked else say)
            made = plan(prepared, progress=progress)
            if selection.several(made.condition.selection) and not asked:
                names = {info.name for info in made.methods}
                say(
                    f"selection {made.condition.selection}: {len(made.trials)} trials of "
                    f"{len(made.methods)} configurations of {len(names)} methods"
                )
            if criterion is not None and criterion.requires == "source":
                asked.append((made, plan(own(request.condition.replace(setting="held-out")))))
            else:
                asked.append((made,))
        with Store(request.results) as store:
            plans = [each for both in asked for each in both]
            found, interrupted = _complete(plans, store, progress=progress, say=say)
            for both in () if interrupted else asked:
                _choose(criterion, store, *both)
            ids = [trial.id for made, *_ in asked for trial in made.trials]
            states = list(store.stored(ids).values())
    return Summary(
        results=request.results,
        condition=asked[0][0].condition,
        planned=len(ids),
        found=found,
        ok=states.count("ok"),
        failed=states.count("failed"),
        not_applicable=states.count("not_applicable"),
        interrupted=interrupted,
    )


def run_configurations(
    requests: Sequence[Request], *, progress: Progress = SILENT, say: Say = lambda _: None
) -> tuple[Plan, ...]:
    """Run every configuration of the methods that have several, under one or more conditions.

    A request is a condition; all have the same results file, scheduler and workers, which are
    started once. No table shows what is stored here. Targets stay clean, whatever a request names.
    A plan a request, whose trials are stored by now; KeyboardInterrupt where it was interrupted.
    """
    with terminable():
        plans = tuple(
            plan(prepare(each, each.condition, progress=progress, say=say), configurations=True)
            for each in requests
        )
        with Store(requests[0].results) as store:
            if _complete(plans, store, progress=progress, say=say)[1]:
                raise KeyboardInterrupt
    return plans


def _complete(
    plans: Sequence[Plan], store: Store, *, progress: Progress, say: Say
) -> tuple[int, bool]:
    """Run what is not stored; how many trials were, and whether it was interrupted."""
    ids = {trial.id for each in plans for trial in each.trials}
    missing = len(store.unfinished(list(ids), attempts=ATTEMPTS))
    # refuses what cannot be run before it is remembered
    finished = finish(plans, store, progress=progress, say=say)
    with shown(progress, "storing the plan", len(ids), least=10 * _MANY):
        for each in plans:
            _remember(each, each.trials, store, candidates=True)
            store.put_skipped(each.prepared.skipped)
    if missing:
        try:
            with shown(progress, f"trials of suite {plans[0].condition.suite}", missing):
                for records in finished:
                    progress.advance(len(records))
        except KeyboardInterrupt:
            return len(ids) - missing, True
    return len(ids) - missing, False


def still_open(store: Store, ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """The trials that are still to run, and those of them that failed once."""
    open_ids = set(store.unfinished(ids, attempts=ATTEMPTS))
    states = store.stored(list(open_ids))
    return open_ids, {trial for trial, status in states.items() if status == "failed"}


def finish(
    plans: Sequence[Plan],
    store: Store,
    *,
    progress: Progress = SILENT,
    say: Say = lambda _: None,
) -> Iterator[list[Record]]:
    """Run what is not stored of plans that have the same scheduler and workers.

    Yields the records of each finished pack, already stored; nothing runs before the first is
    asked for. CorpusError, at once, where a class has fewer utterances than shots.
    """
    by_id = {trial.id: (each, trial) for each in plans for trial in each.trials}
    open_ids, failed = still_open(store, list(by_id))
    packs: list[Pack] = []
    with shown(progress, "planning trials", len(by_id) if open_ids else 0, least=_MANY) as bar:
        for each in plans:
            packs += each.packs(open_ids=open_ids, failed_ids=failed, planned=bar.advance)
    routines = [by_id[name] for name in by_id if name in open_ids]
    routines = [(owner, trial) for owner, trial in routines if trial.method in ROUTINES]
    # what is wrong with them is said before anything runs
    folds = [owner.prepared.folds(trial) for owner, trial in routines]

    def finished() -> Iterator[list[Record]]:
        if packs:
            yield from _run_packs(longest_first(packs), plans[0].request, by_id, store, say)
        for (owner, trial), problems in zip(routines, folds, strict=True):
            try:  # here, where the answers are
                outcomes = ROUTINES[trial.method].solve(problems)
            except Exception:  # noqa: BLE001
                # As for a method: it is that trial's failure, stored with its traceback.
                outcomes = [Outcome(id="", status="failed", reason=traceback.format_exc())]
            records = [score(trial, outcomes, owner.keys(trial))]
            store.put(records)
            yield records

    return finished()


def _run_packs(
    packs: Sequence[Pack], request: Request, by_id: Owners, store: Store, say: Say
) -> Iterator[list[Record]]:
    here = request.scheduler == "local"
    results = in_turn(packs, request.means, say=say) if here else by_ray(packs, request, say=say)
    with contextlib.closing(results), contextlib.suppress(StopIteration):
        uar: float | None = None
        while True:
            pack, outcomes = results.send(uar)
            records = scored(outcomes, by_id, pack=pack.name)
            store.put(records)
            uars = [record.metrics.uar for record in records if record.metrics is not None]
            uar = float(np.mean(uars)) if uars else math.nan
            yield records


def in_turn(packs: Sequence[Pack], means: Means, *, say: Say = lambda _: None) -> Results:
    """Run packs one after the other, in one worker process."""
    for pack in packs:
        slow = functools.partial(_say_slow, say, pack)
        yield pack, own_worker().run(pack.jobs, means, slow=slow)


def by_ray(packs: Sequence[Pack], request: Request, *, say: Say = lambda _: None) -> Results:
    """Run packs by Ray Tune, a trial of which is a pack; ClserError where Ray dies."""
    from clser_bench.run import schedule  # noqa: PLC0415 (of no use without Ray)

    numbered = schedule.Numbered()
    sent = [numbered.sent(pack.jobs) for pack in packs]
    task = schedule.task(request, len(packs), problems=numbered.problems, packs=sent)
    with schedule.ray_tune(task) as ray:
        for what, number, content in ray.messages(
            lambda number, seconds: _say_slow(say, packs[number], seconds)
        ):
            if what == "failed":
                yield packs[number], failures(packs[number].jobs, content)
            else:
                uar = yield packs[number], content[0]
                ray.reply(math.nan if uar is None else uar)


def _say_slow(say: Say, pack: Pack, seconds: float) -> None:
    """Name a pack which runs for long."""
    say(
        f"{pack.jobs[0].method}: {counted(len(pack.jobs), 'trial')} in one pack have been running "
        f"for {seconds / 60:.0f} min (--patience bounds the time of a trial)"
    )


def scored(outcomes: Iterable[Outcome], by_id: Owners, *, pack: str = "") -> list[Record]:
    """The records of trials, whose jobs are all there."""
    folds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        folds.setdefault(outcome.id.rpartition("-")[0], []).append(outcome)
    owned = [(*by_id[name], parts) for name, parts in folds.items()]
    return [score(trial, parts, owner.keys(trial), pack=pack) for owner, trial, parts in owned]


def _choose(
    criterion: selection.Objective | None, store: Store, made: Plan, *held_out: Plan
) -> None:
    """Store which configurations are taken, where the rules ask for a choice."""
    if made.condition.selection == selection.OTHER_PAIRS:
        uars = store.uars([trial.id for trial in made.trials])
        _remember(made, selection.choose_by_other_pairs(made.trials, made.numbers, uars), store)
    elif criterion is not None:
        read = held_out[0] if held_out else made
        taken = selection.choose_by_objective(
            criterion,
            made.trials,
            {**made.numbers, **read.numbers},
            store=store,
            folds=read.prepared.folds,
            held_out=read.trials if held_out else (),
        )
        _remember(made, taken, store)


def _remember(
    made: Plan, trials: Sequence[Trial], store: Store, *, candidates: bool = False
) -> None:
    """Store what is asked for, so that tables know their missing cells and `resume` the request."""
    several = candidates and selection.several(made.condition.selection)
    number = store.plan(
        made.request.json,
        trials,
        pairs=made.prepared.table,
        methods=made.notes(trials),
        candidates=made.numbers if several else None,
    )
    store.put_findings(number, made.prepared.findings)
