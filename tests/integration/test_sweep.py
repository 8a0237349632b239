"""Sweeps from request to result on tiny corpora: the same however often they are broken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clser_bench.errors import SpecError
from clser_bench.protocol import Condition, Pair
from clser_bench.run.plan import read_methods
from clser_bench.run.selection import CRITERIA
from clser_bench.run.space import Search, read_space
from clser_bench.run.sweep import SweepRequest, sweep
from clser_bench.run.worker import Worker
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from tests.integration.conftest import Config
from tests.tiny import Watch, planned, stored, write_corpora

LEAN = '''"""Scores that lean to a class."""
from dataclasses import dataclass
import numpy as np
from clser_bench.registry import register
from clser_bench.registry import hyper
from clser_bench.train.contract import Fitted

@register("{name}", version=1)
class Lean(Fitted):
    """Scores that lean to a class."""
    deterministic = {deterministic}
    lean: float = hyper(0.0, low=-9.0, high=9.0, about="to the first class")
    noise: float = hyper(0.1, low=0.0, high=9.0, about="of the scores")
    rounds: int = hyper(1, low=0, high=9, about="of drawing")

    def fit_predict(self, problem, rng):
        if self.lean > {limit}:
            raise RuntimeError("leans too far")
        source = problem.source.summary[problem.labelled.rows]
        target = problem.target.summary[problem.scored]
        centres = [source[problem.labelled.y == c].mean(0) for c in range(len(problem.classes))]
        near = -np.square(target[:, None] - np.stack(centres)).mean(-1)
        for _ in range({draws}):
            near = near + self.noise * rng.standard_normal(near.shape)
        return near + self.lean * (np.arange(near.shape[1]) == 0)
'''
PAIR = Pair("W", "X")
METHODS = {
    "lean": (False, "self.rounds", 99.0),
    "fixed": (True, "0", 99.0),
    "broken": (False, "self.rounds", 1.0),
    "hopeless": (False, "self.rounds", -99.0),
}
"""Whether deterministic, how often it draws, and above which `lean` it breaks."""

Make = Callable[..., SweepRequest]
pytestmark = pytest.mark.usefixtures("packed")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write_corpora(folder / "corpora", codes="WX", takes=6)
    methods = folder / "methods"
    methods.mkdir()
    for name, (deterministic, draws, limit) in METHODS.items():
        text = LEAN.format(name=name, deterministic=deterministic, draws=draws, limit=limit)
        (methods / f"{name}_of_sweeps.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def make(config: Config, tmp_path: Path) -> Make:
    def request(*texts: str, method: str = "lean", **options: Any) -> SweepRequest:
        rest = {name: options.pop(name) for name in ("objective", "command") if name in options}
        how = {"samples": 6, "population": 4, "sampler": options.pop("search", "sobol")}
        how |= {name: options.pop(name) for name in ("samples", "population", "halving")
                if name in options}  # fmt: skip
        usual: dict[str, Any] = {"pairs": (PAIR,), "methods": (method,), **options}
        usual["results"] = tmp_path / f"{options.get('results', 'results')}.sqlite"
        usual["shots"] = (options.get("shots", 2),)
        space = read_space(read_methods([(method, {})])[0], "", texts or ("lean=-5:5",))
        search = Search(dimensions=space.dimensions, **how)
        asked = {"objective": "entropy", "search": search, **rest}
        return SweepRequest(request=config(**usual), space=space, **asked)

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


def test_the_choice_of_no_criterion_depends_on_the_target_s_labels(
    make: Make, shared: Path
) -> None:
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


def test_the_oracle_follows_the_labels_and_says_so(make: Make, shared: Path) -> None:
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


def test_objectives_are_those_of_the_stored_scores(make: Make) -> None:
    """Mean over pairs of minus the entropy, by a plain formula."""
    request = make("lean=-5:5", "noise=1", seeds=3, pairs=())
    swept = sweep(request)
    assert swept.pairs == 2
    by_lean: dict[float, dict[int, list[float]]] = {}
    for record in records(request):
        p = np.exp(record.scores - record.scores.max(1, keepdims=True).astype(float))
        p /= p.sum(1, keepdims=True)
        value = float(np.mean(np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1)))
        lean = float(dict(record.trial.parameters)["lean"])
        by_lean.setdefault(lean, {}).setdefault(record.trial.seed, []).append(value)
    assert len(swept.configurations) == len(by_lean) == 7
    for one in swept.configurations:
        expected = [np.mean(by_lean[float(one.values[0])][seed]) for seed in range(3)]
        np.testing.assert_allclose(one.draws, expected, rtol=1e-5, atol=1e-12)
    means = [np.mean(one.draws) for one in swept.configurations]
    assert swept.best == int(np.argmax(means))


WAYS: dict[str, dict[str, Any]] = {
    "sobol": {},
    "agreement": {"objective": "agreement"},
    "held-out labels": {"objective": "embedded-validation", "shots": 10},
    "tpe with halving": {"search": "tpe", "halving": 3, "seeds": 3, "samples": 9},
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_interrupted_sweep_goes_on_to_the_same_result_and_then_computes_nothing(
    make: Make, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("lean=-5:5", "rounds=0:2")
    unbroken = sweep(make(*texts, **WAYS[way], results="unbroken"))
    request = make(*texts, **WAYS[way])
    for after in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            sweep(request, progress=Watch(stop=after))
    assert sweep(request) == unbroken
    monkeypatch.setattr(Worker, "run", lambda *_, **__: pytest.fail("ran again"))
    assert sweep(request) == unbroken


def test_a_longer_sweep_uses_what_was_run(make: Make) -> None:
    short = sweep(make(samples=4))
    before = {r.trial.id: r.seconds for r in records(make())}
    longer = sweep(make(samples=9))
    assert longer.configurations[:5] == short.configurations
    after = {r.trial.id: r.seconds for r in records(make())}
    assert len(after) == 10 * 2
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("search", ["sobol", "grid"])
def test_ray_finds_what_one_process_finds(make: Make, search: str) -> None:
    here, by_ray = (
        sweep(make("lean=-3,0,3", "noise=0.5", search=search, scheduler=how, results=how))
        for how in ("local", "ray")
    )
    assert by_ray == here


def test_halving_gives_the_better_part_more_draws(make: Make) -> None:
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
def test_rungs_by_hand(draws: int, halving: int, expected: tuple[int, ...]) -> None:
    assert Search(dimensions=(), halving=halving).rungs(draws) == expected


@pytest.mark.parametrize("halving", [0, 2])
def test_configurations_with_holes_drop_out_with_a_reason(make: Make, halving: int) -> None:
    swept = sweep(make(method="broken", samples=8, halving=halving, seeds=4))
    broken = [one for one in swept.configurations if float(one.values[0]) > 1]
    assert 0 < len(broken) < 8
    assert all(not one.reason for one in swept.configurations if one not in broken)
    for one in broken:
        assert one.draws == ()
        assert one.reason == "W→X, draw 0: RuntimeError: leans too far"
    assert swept.configurations[swept.best] not in broken


def test_a_sweep_in_which_nothing_runs_says_why(make: Make) -> None:
    with pytest.raises(SpecError) as error:
        sweep(make("lean=-5:5", method="hopeless"))
    for word in ("hopeless", "every pair", "W→X, draw 0", "leans too far"):
        assert word in str(error.value)


def test_of_equal_configurations_the_earlier_is_best(make: Make) -> None:
    swept = sweep(make("noise=0,1,2", method="fixed", search="grid"))
    assert len({one.draws for one in swept.configurations}) == 1
    assert swept.best == 0


@pytest.mark.parametrize("search", ["sobol", "random", "grid", "tpe"])
def test_the_default_outside_the_space_comes_first(make: Make, search: str) -> None:
    swept = sweep(make("lean=2:4", search=search))
    assert swept.configurations[0].values == (0.0,)
    assert all(2 <= float(one.values[0]) <= 4 for one in swept.configurations[1:])
    assert [one.number for one in swept.configurations] == list(range(7))


def test_the_default_is_not_run_twice(make: Make) -> None:
    request = make("lean=-1,0,1", search="grid")
    swept = sweep(request)
    assert swept.configurations[0].values == (0.0,)
    assert sorted(one.values for one in swept.configurations) == [(-1.0,), (0.0,), (1.0,)]
    assert len(records(request)) == 3 * 2


def test_what_is_fixed_holds_for_the_default_too(make: Make) -> None:
    request = make("lean=2:4", "rounds=3", "noise=0.5")
    sweep(request)
    found = {(p["rounds"], p["noise"]) for r in records(request) if (p := dict(r.trial.parameters))}
    assert found == {(3, 0.5)}


@pytest.mark.parametrize("halving", [0, 2])
def test_nothing_is_drawn_twice_where_nothing_is_random(make: Make, halving: int) -> None:
    request = make(method="fixed", shots="all", seeds=4, halving=halving)
    swept = sweep(request)
    assert swept.seeds == 1
    assert {len(one.draws) for one in swept.configurations} == {1}
    assert len(records(request)) == 7


def test_held_out_labels_are_a_setting_of_their_own(make: Make) -> None:
    """Trials of a sweep by source labels never count as results, nor the other way round."""
    request = make(shots=10, objective="source-accuracy", samples=2)
    sweep(request)
    held = {record.trial.id: record for record in records(request)}
    assert {r.trial.condition.setting for r in held.values()} == {"held-out"}
    assert {len(r.y) for r in held.values()} == {2 * 2}
    sweep(make(shots=10, samples=2))
    more = [r for r in records(request) if r.trial.id not in held]
    assert {r.trial.condition.setting for r in more} == {"transductive"}
    assert {len(r.y) for r in more} == {24}


@pytest.mark.parametrize("how", ["corpus", "speaker", "source", "none"])
def test_the_target_s_table_has_the_source_s_rows_below(make: Make, how: str) -> None:
    """As methods get them: either side as in the usual setting, one below the other."""
    plain, held = (
        planned(make(shots=10, seeds=1, condition=Condition(**rules)).request)
        for rules in (
            {"normalisation": how, "setting": "transductive"},
            {"normalisation": how, "setting": "held-out"},
        )
    )
    (one,), (other,) = plain.prepared.folds(plain.trials[0]), held.prepared.folds(held.trials[0])
    assert plain.trials[0].id != held.trials[0].id
    for name in ("instants", "summary"):
        (own, target), (source, both) = (
            [
                getattr(side, name)[np.argsort(order)]
                for side, order in zip(
                    (fold.problem.source, fold.problem.target), fold.order, strict=True
                )
            ]
            for fold in (one, other)
        )
        assert source.tobytes() == own.tobytes()
        assert both.tobytes() == np.concatenate([target, own]).tobytes()
    assert other.order[1][other.problem.scored].min() >= len(one.problem.target)
    # file names without the corpus
    assert set(other.key.names) <= {f"W-{name.partition('-')[2]}" for name in one.key.names}


def test_the_inductive_setting_is_swept_too(make: Make) -> None:
    request = make(condition=Condition(setting="inductive"), samples=2)
    assert len(sweep(request).configurations) == 3
    assert {record.trial.condition.setting for record in records(request)} == {"inductive"}


def test_the_result_says_what_was_asked_and_leaves_no_table(make: Make) -> None:
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
    ],
)
def test_requests_that_are_wrong_are_refused(
    make: Make, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as error:
        make(**options)
    for word in words:
        assert word in str(error.value)


def test_the_suite_dev_is_the_only_one_of_its_objective(make: Make) -> None:
    request = make(objective="dev", condition=Condition(suite="bcro"))
    with pytest.raises(SpecError, match=r"got --suite bcro; .*--objective oracle"):
        sweep(request)
    assert not request.request.results.exists()
