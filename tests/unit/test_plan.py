"""Requests, packs of trials, and what planning knows of methods, read by a worker."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.errors import SpecError
from clser_bench.problem import Job, Trial, Value
from clser_bench.protocol import Condition, Pair, parse_shots
from clser_bench.run import plan
from clser_bench.run.plan import (
    FIVE,
    MethodInfo,
    Pack,
    Plan,
    blocks,
    expand,
    longest_first,
    methods_of,
    read_methods,
)
from clser_bench.run.request import Request, parse_settings
from clser_bench.run.worker import Worker
from clser_bench.train import ENGINE_VERSION
from clser_bench.train.check import example_problem
from tests import records
from tests.tiny import write_method

PROBLEM = example_problem()
BC, CB = Pair("B", "C"), Pair("C", "B")
quick = settings(max_examples=40, deadline=None)
codes = st.sampled_from("BCEOR")
some_pairs = st.sets(
    st.tuples(codes, codes).filter(lambda p: p[0] != p[1]), min_size=1, max_size=8
).map(lambda found: [Pair(*pair) for pair in sorted(found)])
limits = st.integers(1, 70)
seed_counts = st.integers(1, 23)


def grid(pairs: list[Pair], seeds: int) -> list[Trial]:
    return [
        records.trial("dann", str(pair), seed=seed, parameters=())
        for pair in pairs
        for seed in range(seeds)
    ]


def ids(made: list[list[Trial]]) -> list[list[str]]:
    return [[one.id for one in block] for block in made]


def cut(trials: list[Trial], limit: int = 64, *, open_ids=None, failed="", folds=1, **info: Any):
    """Packs of a plan whose jobs are given."""

    def jobs_of(_: Plan, one: Trial) -> tuple[Job, ...]:
        how: dict[str, Any] = {"method": one.method, "parameters": one.parameters}
        return tuple(Job(id=f"{one.id}-{n}", seed=n, problem=PROBLEM, **how) for n in range(folds))

    info = {"version": 1, "kind": "fitted", **info}
    infos = {
        (t.method, t.parameters): MethodInfo(name=t.method, parameters=t.parameters, **info)
        for t in trials
    }
    made = Plan(
        prepared=SimpleNamespace(request=Request()),  # type: ignore[arg-type]
        condition=Condition(),
        trials=tuple(trials),
        numbers={},
        methods=tuple(infos.values()),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "FITTED_LIMIT", limit)
        patch.setattr(plan, "TRAINED_LIMIT", limit)
        patch.setattr(Plan, "jobs", jobs_of)
        return made.packs(open_ids=open_ids or {t.id for t in trials}, failed_ids={failed})


def names(packs: list[Pack]) -> list[str]:
    return [pack.name for pack in packs]


@quick
@given(some_pairs, seed_counts, limits, st.integers(1, 2))
def test_blocks_hold_every_trial_once_in_whole_seeds_in_any_order(pairs, seeds, limit, folds):
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
def test_more_seeds_leave_finished_fives_as_they_are(pairs, fives, more, limit):
    few = ids(blocks(grid(pairs, FIVE * fives), folds=1, limit=limit))
    many = ids(blocks(grid(pairs, FIVE * fives + more), folds=1, limit=limit))
    assert many[: len(few)] == few


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(64, [0, 0, 0, 0, 0, 1]), (5, [0, 0, 1, 1, 2, 3]), (2, [0, 1, 2, 3, 4, 5])],
)
def test_blocks_by_hand(limit, expected):
    made = blocks(grid([BC, CB], 6), folds=1, limit=limit)
    found = {one.seed: number for number, block in enumerate(made) for one in block}
    assert [found[seed] for seed in range(6)] == expected


@quick
@given(some_pairs, seed_counts, limits, st.data())
def test_an_interrupted_run_repeats_whole_packs(pairs, seeds, limit, data):
    trials = grid(pairs, seeds)
    packs = cut(trials, limit)
    left = data.draw(st.lists(st.sampled_from(packs), min_size=1, unique_by=lambda p: p.name))
    open_ids = {job.id.rpartition("-")[0] for pack in left for job in pack.jobs}
    again = names(cut(trials, limit, open_ids=open_ids))
    assert again == [name for name in names(packs) if name in names(left)]


@quick
@given(some_pairs, seed_counts, limits, st.sampled_from(["method", "parameters"]))
def test_more_methods_or_configurations_leave_packs_as_they_are(pairs, seeds, limit, what):
    """Two trials of one seed and pair, which could share tensors."""
    change: dict[str, Any] = {"method": "sere", "parameters": (("rate", 0.5),)}
    one = grid(pairs, seeds)
    other = [dataclasses.replace(t, **{what: change[what]}) for t in one]
    before, both = set(names(cut(one, limit))), names(cut([*one, *other], limit))
    assert before < set(both)
    assert len(both) == 2 * len(before)


@pytest.mark.parametrize(("kind", "sizes"), [("fitted", [1] * 12), ("trained", [1, 1, 5, 5])])
def test_a_method_of_elsewhere_never_has_two_pairs_in_one_process(kind, sizes):
    trials = grid([BC, CB], 6)
    packs = cut(trials, kind=kind, packable=True, built_in=False)
    pair_of = {f"{one.id}-0": one.pair for one in trials}
    assert all(len({pair_of[job.id] for job in pack.jobs}) == 1 for pack in packs)
    assert sorted(len(pack.jobs) for pack in packs) == sizes


def test_shots_and_failed_trials_have_packs_of_their_own():
    trials = grid([BC], 5)
    ten = dataclasses.replace(trials[0], condition=Condition(shots=10))
    assert [len(pack.jobs) for pack in cut([trials[0], ten])] == [1, 1]
    failed = trials[2].id
    sizes = {tuple(j.id for j in p.jobs): len(p.jobs) for p in cut(trials, failed=failed, folds=2)}
    assert sizes[f"{failed}-0", f"{failed}-1"] == 2
    assert sorted(sizes.values()) == [2, 8]


def test_long_packs_come_first():
    trials = [
        dataclasses.replace(one, parameters=(("steps", steps),), method=f"m{steps}")
        for steps in (10, 1000, 100)
        for one in grid([BC], 2)
    ]
    assert [p.jobs[0].method for p in longest_first(cut(trials))] == ["m1000", "m100", "m10"]


# what is known of methods


def read(name: str, **settings: Value) -> MethodInfo:
    (info,) = read_methods([(name, settings)])
    return info


@pytest.fixture
def asked(monkeypatch):
    """The methods that a worker is asked for."""
    seen: list[Any] = []
    whole = Worker.describe

    def describe(self: Worker, methods: Any) -> Any:
        seen.extend(methods)
        return whole(self, methods)

    monkeypatch.setattr(Worker, "describe", describe)
    return seen


def test_planning_knows_what_it_needs():
    dann, other, chance = read_methods([("dann", {"steps": 9}), ("dann", {}), ("chance", {})])
    assert dict(dann.parameters)["steps"] == 9 != dict(other.parameters)["steps"]
    assert (dann.kind, dann.engine_version) == ("trained", ENGINE_VERSION)
    assert not dann.deterministic
    assert (chance.engine_version, chance.role) == (0, "bound")
    with pytest.raises(SpecError, match="steps"):
        read("dann", steps="9")  # not the number, which is remembered


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("logistic", {"title": "mine"}, r"'logistic' has no hyper-parameter 'title'.*strength"),
        ("logistic", {"iterations": 10.0}, r"iterations=10\.0: a whole number is needed"),
        ("logistic", {"balanced": 1}, "balanced=1: write true or false"),
    ],
)
def test_values_of_hyper_parameters_are_checked(name, values, message):
    with pytest.raises(SpecError, match=message):
        registry.create(name, values)


def test_configurations_are_methods_of_their_own_and_a_second_reading_asks_nobody(asked):
    request = Request(
        methods=("dann", "chance", "within-target"),
        condition=Condition(selection="oracle"),
        settings={"dann": {"steps": 9}},
    )
    made = methods_of(request, request.condition)
    assert tuple(info.name for number, info in made if number == 0) == request.methods
    infos = [info for _, info in made if info.name == "dann"]
    assert len(infos) == 1 + len(infos[0].configurations) > 2
    assert len({info.parameters for info in infos}) == len(infos)
    assert {dict(info.parameters)["steps"] for info in infos} == {9}
    asked.clear()
    assert methods_of(request, request.condition) == made, "with every field"
    assert asked == []


def test_changed_code_is_read_again(tmp_path, monkeypatch, asked):
    file = write_method(tmp_path / "methods", "near")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    before = read("near")
    file.write_text(file.read_text().replace("high=10.0", "high=20.0"))
    asked.clear()
    after = read("near")
    assert [name for name, _ in asked] == ["near"]
    assert (before.ranges["weight"].high, after.ranges["weight"].high) == (10.0, 20.0)


def test_a_damaged_file_of_the_cache_is_written_again(own_cache):
    (own_cache / "methods").unlink()  # that of all tests
    first = read("dann")
    (file,) = (own_cache / "methods").iterdir()
    good = file.read_text()
    changed = good.replace('"steps": ', '"steps": 1')
    assert changed != good
    for damage in ("", "{", "[]", '{"name": "dann"}', changed):
        file.write_text(damage)
        assert read("dann") == first
        assert file.read_text() == good


def test_names_are_expanded_once_each():
    assert expand(["chance", "within-target", "chance"]) == ("chance", "within-target")
    *methods, last = expand(["all"])
    assert last == "within-target"
    assert set(methods) <= {*registry.entries()}
    with pytest.raises(SpecError, match="did you mean 'chance'"):
        expand(["chanec"])


# requests

OTHERS = Condition(selection="others")


def test_options_survive_json(tmp_path):
    results = tmp_path / "results.sqlite"
    rules = Condition(suite="bcro", setting="inductive", prior="dirichlet:1")
    rules = rules.replace(normalisation="speaker", selection="other-pairs")
    config = Request(
        pairs=(Pair("B", "C"),),
        corpora=tmp_path,
        manifests=(tmp_path / "m.csv",),
        methods=("dann",),
        shots=(1, "all"),
        seeds=3,
        condition=rules,
        settings=parse_settings(["dann.steps=10"]),
        corruptions=("noise:0", "telephone"),
        results=results,
        scheduler="local",
        workers=2,
        skip_bad=True,
        energy=True,
    )
    assert config.corruptions == ("noise:0", "telephone:8", "telephone:6", "telephone:4")
    stored = json.loads(json.dumps(config.json))
    assert Request.from_json(stored, results=results) == config
    del stored["energy"]  # from before joules were measured
    assert Request.from_json(stored, results=results) == config.replace(energy=False)
    with pytest.raises(SpecError, match="last run's options cannot be read"):
        Request.from_json({"suite": None}, results=results)


def test_settings_are_typed_and_override_the_file(tmp_path):
    file = tmp_path / "params.toml"
    file.write_text("[dann]\nsteps = 5\nramp = 2.5\n[sere]\nadaptive = true\n")
    made = parse_settings(["dann.steps=7", "dann.decay=none", "sere.adaptive=false"], file)
    assert dict(made) == {
        "dann": {"decay": "none", "ramp": 2.5, "steps": 7},
        "sere": {"adaptive": False},
    }
    assert isinstance(made["dann"]["steps"], int)


@pytest.mark.parametrize("text", ["dann", "dann.steps", "dann=3", ".steps=3", "dann.=3"])
def test_a_malformed_setting_says_how_to_write_it(text):
    with pytest.raises(SpecError, match=r"write METHOD\.NAME=VALUE"):
        parse_settings([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 3", "stands outside a table"),
        ("[dann", "not valid TOML"),
        ("[a]\nb=[1]", "must be"),
        (None, r"params\.toml: cannot be read"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, text, message):
    file = tmp_path / "params.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        parse_settings([], file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "rya"}, "scheduler 'rya' is unknown; did you mean 'ray'"),
        ({"condition": OTHERS}, "selection 'others' is unknown; did you mean 'other-pairs'"),
        ({"seeds": 0}, "seeds 0"),
        ({"seeds": 10**9}, "seeds 1000000000: at most 10000 draws are run"),
        ({"methods": ()}, "at least one method"),
        ({"devices": ("cuda:0", "tpu")}, "device 'tpu': write cpu, or cuda:0 and the like"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        Request(**options)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "9" * 5000, "²", "1e3"])
def test_shots_are_small_whole_numbers(text):
    with pytest.raises(SpecError, match="write a positive integer, or all"):
        parse_shots(text)
