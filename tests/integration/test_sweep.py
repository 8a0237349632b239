"""Sweeps from request to result on tiny corpora: the same however often they are broken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Value
from clser_bench.protocol import Condition, Pair, Shots
from clser_bench.run.plan import read_methods
from clser_bench.run.selection import CRITERIA, of_target
from clser_bench.run.space import Search, read_space
from clser_bench.run.sweep import SweepRequest, sweep
from clser_bench.run.worker import Worker
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from tests.tiny import Watch, planned, stored, write_corpora, write_method

VALUES = """lean: float = hyper(0.0, low=-9.0, high=9.0, about="to the first class")
    noise: float = hyper(0.1, low=0.0, high=9.0, about="of the scores")
    rounds: int = hyper(1, low=0, high=9, about="of drawing")"""
DRAWS = "range(self.rounds * (not self.deterministic))"
LEANING = f"""(
            near + self.lean * (np.arange(near.shape[1]) == 0)
            + self.noise * sum(rng.standard_normal(near.shape) for _ in {DRAWS})
        )"""
PAIR = Pair("W", "X")
METHODS = {"lean": 99.0, "fixed": 99.0, "broken": 1.0, "hopeless": -99.0}
"""Above which `lean` each breaks."""

pytestmark = pytest.mark.usefixtures("packed")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    write_corpora(folder / "corpora", codes="WX", takes=6)
    for name, limit in METHODS.items():
        body = f"if self.lean > {limit}: raise RuntimeError('leans too far')"
        how: dict[str, Any] = {"values": VALUES, "answer": LEANING}
        write_method(folder / "methods", name, body=body, deterministic=name == "fixed", **how)
    return folder


@pytest.fixture
def make(config, tmp_path):
    def request(
        *texts: str, method: str = "lean", objective: str = "entropy", command: str = "",
        search: str = "sobol", samples: int = 6, population: int = 4, halving: int = 0,
        shots: Shots = 2, results: str = "results", **options: Any,
    ) -> SweepRequest:  # fmt: skip
        space = read_space(read_methods([(method, {})])[0], "", texts or ("lean=-5:5",))
        how = {"samples": samples, "population": population, "halving": halving}
        search_of = Search(dimensions=space.dimensions, sampler=search, **how)
        usual = {"pairs": (PAIR,), "methods": (method,), "shots": (shots,)}
        asked = config(**{**usual, **options}, results=tmp_path / f"{results}.sqlite")
        return SweepRequest(
            request=asked, space=space, objective=objective, search=search_of, command=command
        )

    return request


def records(request: SweepRequest) -> list[Record]:
    return stored(request.request.results)


def relabelled(folder: Path, relabel: Callable[[list[str]], Sequence[str]]) -> Path:
    """The manifest of the corpora with other emotions for X, beside the same recordings."""
    frame, place = pd.read_csv(folder / "manifest.csv"), folder / f"{relabel.__name__}.csv"
    target = frame.corpus == "X"
    frame.loc[target, "emotion"] = relabel(frame.emotion[target].tolist())
    frame.to_csv(place, index=False)
    return place


def swapped(labels: list[str]) -> list[str]:
    return [{"anger": "sadness", "sadness": "anger"}[label] for label in labels]


def shuffled(labels: list[str]) -> list[str]:
    return [labels[i] for i in np.random.default_rng(3).permutation(len(labels))]


def test_the_choice_of_no_criterion_depends_on_the_target_s_labels(make, shared):
    """Not the best alone: every objective of every configuration is the same.

    Criteria of one setting share trials, which are stored once for each manifest.
    """
    texts = ("lean=-3,1", "noise=0.1,1")
    others = [relabelled(shared / "corpora", relabel) for relabel in (swapped, shuffled)]
    for criterion in CRITERIA:
        asked = {"objective": criterion, "shots": 10, "search": "grid", "samples": 4}
        before = sweep(make(*texts, **asked))
        assert len(before.configurations) == 5
        assert len({one.draws for one in before.configurations}) > 1, "all are alike"
        for number, other in enumerate(others):
            after = sweep(make(*texts, **asked, manifests=(other,), results=f"other-{number}"))
            assert after == before, criterion
        assert not before.oracle
        assert all(one.uars == () for one in before.configurations)


def test_the_oracle_follows_the_labels_and_says_so(make, shared):
    texts = ("lean=-3,-1,1,3", "noise=0.1,1")
    asked = {"objective": "oracle", "shots": 10, "search": "grid", "samples": 8}
    before = sweep(make(*texts, **asked))
    other = relabelled(shared / "corpora", swapped)
    after = sweep(make(*texts, **asked, manifests=(other,), results="other"))
    assert after.oracle
    assert after.best != before.best
    for one, two in zip(before.configurations, after.configurations, strict=True):
        np.testing.assert_allclose(np.add(one.draws, two.draws), 100.0)
        assert one.uars == one.draws


def test_objectives_are_means_over_pairs_of_the_stored_scores(make):
    request = make("lean=-5:5", "noise=1", seeds=3, pairs=())
    swept = sweep(request)
    assert (swept.pairs, len(swept.configurations)) == (2, 7)
    values: dict[tuple[Value, int], list[float]] = {}
    for record in records(request):
        place = dict(record.trial.parameters)["lean"], record.trial.seed
        values.setdefault(place, []).append(of_target("entropy", record))
    for one in swept.configurations:
        expected = [np.mean(values[one.values[0], seed]) for seed in range(3)]
        np.testing.assert_allclose(one.draws, expected, rtol=1e-9)
    assert swept.best == int(np.argmax([np.mean(one.draws) for one in swept.configurations]))


WAYS: dict[str, dict[str, Any]] = {
    "agreement": {"objective": "agreement"},
    "held-out labels": {"objective": "embedded-validation", "shots": 10},
    "tpe with halving": {"search": "tpe", "halving": 3, "seeds": 3, "samples": 9},
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_interrupted_sweep_goes_on_and_runs_nothing_again(make, way, monkeypatch):
    texts = ("lean=-5:5", "rounds=0:2")
    unbroken = sweep(make(*texts, **WAYS[way], results="unbroken"))
    request = make(*texts, **WAYS[way])
    for after in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            sweep(request, progress=Watch(stop=after))
    assert sweep(request) == unbroken
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    assert sweep(request) == unbroken


def test_a_longer_sweep_uses_what_was_run(make):
    short = sweep(make(samples=4))
    before = {r.trial.id: r.seconds for r in records(make())}
    longer = sweep(make(samples=9))
    assert longer.configurations[:5] == short.configurations
    after = {r.trial.id: r.seconds for r in records(make())}
    assert len(after) == 10 * 2
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("search", ["sobol", "grid"])
def test_ray_finds_what_one_process_finds(make, search):
    here, by_ray = (
        sweep(make("lean=-3,0,3", "noise=0.5", search=search, scheduler=how, results=how))
        for how in ("local", "ray")
    )
    assert by_ray == here


def test_halving_gives_the_better_part_more_draws(make):
    asked: dict[str, Any] = {"halving": 2, "seeds": 4, "samples": 8, "objective": "oracle"}
    request = make("lean=-2:2", "noise=5", **asked)
    swept = sweep(request)
    default, *others = swept.configurations
    assert len(default.draws) == 4, "what the best is compared with runs to the end"
    counts = [len(one.draws) for one in others]
    assert set(counts) <= {1, 2, 4}
    assert min(counts) < 4
    assert len(records(request)) == 4 + sum(counts)
    assert len(swept.configurations[swept.best].draws) == 4
    assert (swept.seeds, swept.search, swept.halving) == (4, "sobol", 2)
    assert all(one.reason == "" for one in swept.configurations)


@pytest.mark.parametrize(
    ("draws", "halving", "expected"),
    [(4, 0, (4,)), (4, 2, (1, 2, 4)), (5, 2, (1, 2, 3, 5)), (10, 3, (1, 2, 4, 10)), (1, 2, (1,))],
)
def test_rungs_by_hand(draws, halving, expected):
    assert Search(dimensions=(), halving=halving).rungs(draws) == expected


@pytest.mark.parametrize("halving", [0, 2])
def test_configurations_with_holes_drop_out_with_a_reason(make, halving):
    swept = sweep(make(method="broken", samples=8, halving=halving, seeds=4))
    broken = [one for one in swept.configurations if float(one.values[0]) > 1]
    assert 0 < len(broken) < 8
    assert all(not one.reason for one in swept.configurations if one not in broken)
    for one in broken:
        assert one.draws == ()
        assert one.reason == "W→X, draw 0: RuntimeError: leans too far"
    assert swept.configurations[swept.best] not in broken


def test_a_sweep_in_which_nothing_runs_says_why(make):
    with pytest.raises(SpecError) as error:
        sweep(make("lean=-5:5", method="hopeless"))
    for word in ("hopeless", "every pair", "W→X, draw 0", "leans too far"):
        assert word in str(error.value)


@pytest.mark.parametrize("search", ["sobol", "random", "grid", "tpe"])
def test_the_default_outside_the_space_comes_first_with_what_is_fixed(make, search):
    request = make("lean=2:4", "rounds=3", "noise=0.5", search=search)
    first, *others = swept = sweep(request).configurations
    assert first.values == (0.0,)
    assert all(2 <= float(one.values[0]) <= 4 for one in others)
    assert [one.number for one in swept] == list(range(7))
    found = {(p["rounds"], p["noise"]) for r in records(request) if (p := dict(r.trial.parameters))}
    assert found == {(3, 0.5)}


def test_the_default_is_not_run_twice_and_of_equal_configurations_the_earlier_is_best(make):
    request = make("noise=0,0.1,1", method="fixed", search="grid")
    swept = sweep(request)
    assert swept.configurations[0].values == (0.1,)
    assert sorted(one.values for one in swept.configurations) == [(0.0,), (0.1,), (1.0,)]
    assert len(records(request)) == 3 * 2
    assert len({one.draws for one in swept.configurations}) == 1
    assert swept.best == 0


@pytest.mark.parametrize("halving", [0, 2])
def test_nothing_is_drawn_twice_where_nothing_is_random(make, halving):
    request = make(method="fixed", shots="all", seeds=4, halving=halving)
    swept = sweep(request)
    assert swept.seeds == 1
    assert {len(one.draws) for one in swept.configurations} == {1}
    assert len(records(request)) == 7


def test_each_setting_has_trials_of_its_own(make):
    """Those of a sweep by source labels never count as results, nor the other way round."""
    before: set[str] = set()
    for setting, answers, options in (
        ("held-out", 2 * 2, {"objective": "source-accuracy"}),
        ("transductive", 24, {}),
        ("inductive", 24, {"condition": Condition(setting="inductive")}),
    ):
        request = make(shots=10, samples=2, **options)
        assert len(sweep(request).configurations) == 3
        more = [r for r in records(request) if r.trial.id not in before]
        assert {(r.trial.condition.setting, len(r.y)) for r in more} == {(setting, answers)}
        assert all(len(set(r.speakers)) == 2 for r in more)
        before |= {record.trial.id for record in more}


@pytest.mark.parametrize("how", ["corpus", "speaker", "source", "none"])
def test_the_target_s_table_has_the_source_s_rows_below(make, how):
    """As methods get them: either side as in the usual setting, one below the other."""
    usual = Condition(normalisation=how)
    plans = [
        planned(make(shots=10, seeds=1, condition=usual.replace(setting=setting)).request)
        for setting in ("transductive", "held-out")
    ]
    assert plans[0].trials[0].id != plans[1].trials[0].id
    [one], [other] = (plan.prepared.folds(plan.trials[0]) for plan in plans)
    for name in ("instants", "summary"):
        own, target, source, both = (
            getattr(getattr(fold.problem, side), name)[np.argsort(order)]
            for fold in (one, other)
            for side, order in zip(("source", "target"), fold.order, strict=True)
        )
        assert source.tobytes() == own.tobytes()
        assert both.tobytes() == np.concatenate([target, own]).tobytes()
    assert other.order[1][other.problem.scored].min() >= len(one.problem.target)
    # file names without the corpus
    assert set(other.key.names) <= {f"W-{name.partition('-')[2]}" for name in one.key.names}


def test_the_result_says_what_was_asked_and_leaves_no_table(make):
    request = make(samples=2, command="the command")
    swept = sweep(request)
    assert (swept.method, swept.objective, swept.unit) == ("lean", "entropy", "nats")
    assert swept.suite.startswith("custom-")
    assert (swept.pairs, swept.shots, swept.seeds) == (1, "2", 2)
    assert (swept.features, swept.normalisation) == ("minimal", "corpus")
    assert (swept.search, swept.command) == ("sobol", "the command")
    with Store(request.request.results) as store:
        assert store.frame().empty
        assert store.runs() == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, ["samples 0", "positive"]),
        ({"population": 0}, ["population 0", "positive"]),
        ({"halving": -2}, ["halving -2", "0 for none"]),
        ({"objective": "entropie"}, ["'entropie'", "did you mean 'entropy'"]),
        ({"objective": "source-risk", "shots": 9}, ["'source-risk'", "below 10 shots", "got 9"]),
        ({"search": "gird"}, ["did you mean 'grid'"]),
        ({"search": "grid", "samples": 1}, ["1"]),
        ({"methods": ("lean", "fixed")}, ["a sweep is of one method"]),
        (
            {"objective": "dev", "condition": Condition(suite="bcro")},
            ["got --suite bcro; ", "--objective oracle"],
        ),
    ],
)
def test_requests_that_are_wrong_are_refused(make, tmp_path, options, words):
    with pytest.raises(SpecError) as error:
        sweep(make(**options))
    assert [word for word in words if word not in str(error.value)] == []
    assert not (tmp_path / "results.sqlite").exists()
