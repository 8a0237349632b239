"""Packs: fixed blocks of seeds, so that what is finished is never packed anew.

The jobs of a group (one method at one point, one number of shots, tensors of the same shapes) are
ordered by seed and pair. Seeds fall into fives, 0-4, 5-9 and so on, and a five is cut into blocks
of as many whole seeds as the pack limit allows. Which pack a trial is in depends on its own seed
and on the pairs of its group, never on which trials are stored, which other seeds are asked for,
or which other methods and points run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from clser_bench.hashing import digest
from clser_bench.problem import Job, Trial

FIVE = 5
"""Seeds of the default run: the largest block."""

Grouping = tuple[Callable[[Job], str], Callable[[Job], int]]
"""`train.packing.group_key` and `train.packing.pack_limit`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pack:
    """Jobs that are run together. Holds no answers: this is what travels.

    Attributes:
        name: hash of its jobs' names.
        jobs: of whole trials, ordered by seed and pair.
        weight: a guess of how long it runs.
    """

    name: str
    jobs: tuple[Job, ...]
    weight: float


def longest_first(packs: Iterable[Pack]) -> tuple[Pack, ...]:
    """Packs in the order in which they are best started."""
    return tuple(sorted(packs, key=lambda pack: (-pack.weight, pack.name)))


def cut(
    trials: Sequence[Trial],
    jobs: Mapping[str, tuple[Job, ...]],
    *,
    open_ids: Collection[str],
    failed_ids: Collection[str],
    grouping: Grouping,
    mixed: bool = False,
) -> tuple[Pack, ...]:
    """Cut trials into packs.

    Args:
        trials: all that were asked for, stored or not.
        jobs: of each trial, by its id: one, or two in the inductive setting.
        open_ids: trials still to run; the others keep their place but are left out.
        failed_ids: open trials that failed once; each gets a pack of its own.
        grouping: which jobs may share a pack, and how many.
        mixed: whether points of a method share packs as far as they differ in real values only:
            a population of a sweep. Blocks are then cut in the order of the trials.

    Returns:
        Packs, the longest first.
    """
    group_key, pack_limit = grouping
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        # parameters: a selection has several points of a method on the same seed and pair
        point = [] if mixed else [list(pair) for pair in trial.parameters]
        key = digest([group_key(jobs[trial.id][0]), trial.method, point, trial.shots])
        groups.setdefault(key, []).append(trial)
    packs = []
    for members in groups.values():
        limit = pack_limit(jobs[members[0].id][0])
        folds = len(jobs[members[0].id])
        made = chunks if mixed else blocks
        for block in made(members, folds=folds, limit=limit):
            left = [trial for trial in block if trial.id in open_ids]
            alone = [[trial] for trial in left if trial.id in failed_ids]
            together = [trial for trial in left if trial.id not in failed_ids]
            packs += [_pack(chosen, jobs, limit) for chosen in (together, *alone) if chosen]
    return longest_first(packs)


def blocks(trials: Iterable[Trial], *, folds: int, limit: int) -> list[list[Trial]]:
    """Cut the trials of one group into fixed blocks.

    Args:
        trials: of one group.
        folds: jobs a trial.
        limit: the most jobs that a block should hold; a trial is never divided.

    Returns:
        Blocks of whole seeds where a seed fits the limit, else parts of one seed.
    """
    ordered = sorted(trials, key=lambda trial: (trial.seed, trial.pair))
    pairs = sorted({trial.pair for trial in ordered})
    fit = max(1, limit // folds)
    seeds_a_block = min(FIVE, fit // len(pairs)) if pairs else FIVE
    place = {pair: index // fit for index, pair in enumerate(pairs)}
    made: dict[tuple[int, int, int], list[Trial]] = {}
    for trial in ordered:
        five, rest = divmod(trial.seed, FIVE)
        key = (five, rest // seeds_a_block, 0) if seeds_a_block else (five, rest, place[trial.pair])
        made.setdefault(key, []).append(trial)
    return list(made.values())


def chunks(trials: Iterable[Trial], *, folds: int, limit: int) -> list[list[Trial]]:
    """Cut the trials of one group into blocks in their own order.

    Args:
        trials: of one group.
        folds: jobs a trial.
        limit: the most jobs that a block should hold; a trial is never divided.
    """
    ordered = list(trials)
    fit = max(1, limit // folds)
    return [ordered[start : start + fit] for start in range(0, len(ordered), fit)]


def _pack(trials: Sequence[Trial], jobs: Mapping[str, tuple[Job, ...]], limit: int) -> Pack:
    members = tuple(job for trial in trials for job in jobs[trial.id])
    steps = dict(members[0].parameters).get("steps", 0)
    return Pack(
        name=digest([job.id for job in members])[:16],
        jobs=members,
        weight=len(members) * (1 + float(steps)) / limit,  # heavy methods have small limits
    )
