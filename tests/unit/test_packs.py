from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench.problem import Job, Trial
from clser_bench.protocol import Condition, Pair
from clser_bench.run import plan
from clser_bench.run.plan import FIVE, MethodInfo, Pack, Plan, blocks, longest_first
from clser_bench.run.request import Request
from clser_bench.train.check import example_problem
from tests import records

PROBLEM = example_problem()
quick = settings(max_examples=40, deadline=None)
CODES = "BCEOR"


FIRST = Pair("B", "C")


class Cut(Plan):
    """A plan whose jobs are given."""


def trial(seed: int, pair: Pair = FIRST, *, method: str = "dann") -> Trial:
    return records.trial(method, str(pair), seed=seed, parameters=())


def jobs_of(one: Trial, folds: int) -> tuple[Job, ...]:
    how: dict[str, Any] = {"method": one.method, "parameters": one.parameters, "problem": PROBLEM}
    return tuple(Job(id=f"{one.id}-{n}", seed=n, **how) for n in range(folds))


some_pairs = st.sets(
    st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)).filter(lambda p: p[0] != p[1]),
    min_size=1,
    max_size=8,
).map(lambda found: [Pair(*codes) for codes in sorted(found)])
limits = st.integers(1, 70)
seed_counts = st.integers(1, 23)


def grid(pairs: list[Pair], seeds: int, *, method: str = "dann") -> list[Trial]:
    return [trial(seed, pair, method=method) for pair in pairs for seed in range(seeds)]


def ids(made: list[list[Trial]]) -> list[list[str]]:
    return [[one.id for one in block] for block in made]


@quick
@given(some_pairs, seed_counts, limits, st.integers(1, 2))
def test_blocks_hold_every_trial_once_in_whole_seeds_in_any_order(
    pairs: list[Pair], seeds: int, limit: int, folds: int
) -> None:
    trials = grid(pairs, seeds)
    made = blocks(trials, folds=folds, limit=limit)
    assert sorted(one.id for block in made for one in block) == sorted(t.id for t in trials)
    assert all(len(block) * folds <= max(limit, folds) for block in made)
    assert all(len({one.seed for one in block}) <= FIVE for block in made)
    if len(pairs) * folds <= limit:
        assert all(len(block) == len(pairs) * len({t.seed for t in block}) for block in made)
    assert ids(blocks(trials[::-1], folds=folds, limit=limit)) == ids(made)


@quick
@given(some_pairs, st.integers(1, 4), st.integers(0, 13), limits)
def test_more_seeds_leave_finished_fives_as_they_are(
    pairs: list[Pair], fives: int, more: int, limit: int
) -> None:
    few = ids(blocks(grid(pairs, FIVE * fives), folds=1, limit=limit))
    many = ids(blocks(grid(pairs, FIVE * fives + more), folds=1, limit=limit))
    assert many[: len(few)] == few


def cut_all(
    trials: list[Trial],
    limit: int,
    *,
    open_ids: set[str] | None = None,
    failed: str = "",
    folds: int = 1,
    **info: Any,
) -> list[Pack]:
    infos = {
        (one.method, one.parameters): MethodInfo(
            name=one.method, version=1, parameters=one.parameters, **{"kind": "fitted", **info}
        )
        for one in trials
    }
    made = Cut(
        prepared=SimpleNamespace(request=Request()),  # type: ignore[arg-type]
        condition=Condition(),
        trials=tuple(trials),
        numbers={},
        methods=tuple(infos.values()),
    )
    ids = {t.id for t in trials} if open_ids is None else open_ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FITTED_LIMIT", limit)
        patch.setattr(plan, "TRAINED_LIMIT", limit)
        patch.setattr(Cut, "jobs", lambda _, one: jobs_of(one, folds))
        return made.packs(open_ids=ids, failed_ids={failed})


@quick
@given(some_pairs, seed_counts, limits, st.data())
def test_an_interrupted_run_repeats_whole_packs(
    pairs: list[Pair], seeds: int, limit: int, data: st.DataObject
) -> None:
    trials = grid(pairs, seeds)
    packs = cut_all(trials, limit)
    finished = data.draw(st.sets(st.sampled_from([pack.name for pack in packs])))
    left = [pack for pack in packs if pack.name not in finished]
    open_ids = {job.id.rpartition("-")[0] for pack in left for job in pack.jobs}
    again = cut_all(trials, limit, open_ids=open_ids)
    assert [pack.name for pack in again] == [pack.name for pack in left]


@quick
@given(some_pairs, seed_counts, limits, st.sampled_from(["method", "parameters"]))
def test_more_methods_or_configurations_leave_packs_as_they_are(
    pairs: list[Pair], seeds: int, limit: int, what: str
) -> None:
    """Two trials of one seed and pair, which could share tensors."""
    change: dict[str, Any] = {"method": "sere", "parameters": (("rate", 0.5),)}
    one = grid(pairs, seeds)
    other = [dataclasses.replace(t, **{what: change[what]}) for t in one]
    before = {pack.name for pack in cut_all(one, limit)}
    both = cut_all([*one, *other], limit)
    assert before < {pack.name for pack in both}
    assert len(both) == 2 * len(before)


@pytest.mark.parametrize(("kind", "sizes"), [("fitted", [1] * 12), ("trained", [1, 1, 5, 5])])
def test_a_method_of_elsewhere_never_has_two_pairs_in_one_process(
    kind: str, sizes: list[int]
) -> None:
    trials = grid([Pair("B", "C"), Pair("C", "B")], 6)
    packs = cut_all(trials, 64, kind=kind, packable=True, built_in=False)
    pair_of = {f"{one.id}-0": one.pair for one in trials}
    assert all(len({pair_of[job.id] for job in pack.jobs}) == 1 for pack in packs)
    assert sorted(len(pack.jobs) for pack in packs) == sizes


def test_shots_never_share_a_pack() -> None:
    trials = [trial(0), dataclasses.replace(trial(0), condition=Condition(shots=10))]
    assert [len(pack.jobs) for pack in cut_all(trials, 64)] == [1, 1]


def test_a_failed_trial_gets_a_pack_of_its_own() -> None:
    trials = grid([Pair("B", "C")], 5)
    failed = trials[2].id
    packs = cut_all(trials, 64, failed=failed, folds=2)
    sizes = {tuple(job.id for job in pack.jobs): len(pack.jobs) for pack in packs}
    assert sizes[f"{failed}-0", f"{failed}-1"] == 2
    assert sorted(sizes.values()) == [2, 8]


@pytest.mark.parametrize(
    ("pairs", "limit", "expected"),
    [(2, 64, [0, 0, 0, 0, 0, 1]), (2, 5, [0, 0, 1, 1, 2, 3]), (2, 2, [0, 1, 2, 3, 4, 5])],
)
def test_blocks_by_hand(pairs: int, limit: int, expected: list[int]) -> None:
    made = blocks(grid([Pair("B", "C"), Pair("C", "B")][:pairs], 6), folds=1, limit=limit)
    found = {one.seed: number for number, block in enumerate(made) for one in block}
    assert [found[seed] for seed in range(6)] == expected


def test_long_packs_come_first() -> None:
    trials = [
        dataclasses.replace(one, parameters=(("steps", steps),), method=f"m{steps}")
        for steps in (10, 1000, 100)
        for one in grid([Pair("B", "C")], 2)
    ]
    packs = longest_first(cut_all(trials, 64))
    assert [pack.jobs[0].method for pack in packs] == ["m1000", "m100", "m10"]
