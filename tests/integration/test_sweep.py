"""Sweeps from request to result on tiny corpora: the same however often they are broken off."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clser_bench.errors import SpecError
from clser_bench.problem import Outcome
from clser_bench.protocol import Condition, Pair
from clser_bench.run import execute as local
from clser_bench.run import sweep as main
from clser_bench.run import work
from clser_bench.run.execute import run
from clser_bench.run.plan import Pack, make_plan
from clser_bench.run.request import Request, parse_settings
from clser_bench.run.samplers import new_search
from clser_bench.run.selection import OBJECTIVES
from clser_bench.run.sweep import Request, sweep
from clser_bench.run.work import Work
from clser_bench.store.records import Record
from clser_bench.store.sqlite import Store
from clser_bench.sweeps import SweepResult, read_space
from tests.tiny import write_corpora

LEAN = '''"""Scores that lean to a class."""
import os
from dataclasses import dataclass
import numpy as np
from clser_bench.registry import register
from clser_bench.hyperparameters import hyper
from clser_bench.train.contract import Fitted

@register("{name}", version=1)
class Lean(Fitted):
    """Scores that lean to a class."""
    deterministic = {deterministic}
    lean: float = hyper(0.0, low=-9.0, high=9.0, about="to the first class")
    noise: float = hyper(0.1, low=0.0, high=9.0, about="of the scores")
    rounds: int = hyper(1, low=0, high=9, about="of drawing")

    def fit_predict(self, problem, rng):
        if os.environ.get("BREAK") and self.lean > float(os.environ["BREAK"]):
            raise RuntimeError("leans too far")
        source = problem.source.summary[problem.labelled.rows]
        target = problem.target.summary[problem.scored]
        centres = [source[problem.labelled.y == c].mean(0) for c in range(len(problem.classes))]
        near = -np.square(target[:, None] - np.stack(centres)).mean(-1)
        for _ in range({draws}):
            near = near + self.noise * rng.standard_normal(near.shape)
        return near + self.lean * (np.arange(near.shape[1]) == 0)
'''
CRITERIA = [item.name for item in OBJECTIVES.values() if item.looks != "labels"]
PAIR = Pair("W", "X")
SHORT = ("steps=4", "target_batch=12", "source_batch=12")

Make = Callable[..., Request]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write_corpora(folder / "corpora", codes="WX", takes=6)
    methods = folder / "methods"
    methods.mkdir()
    for name, deterministic, draws in (("lean", False, "self.rounds"), ("fixed", True, "0")):
        text = LEAN.format(name=name, deterministic=deterministic, draws=draws)
        (methods / f"{name}_of_sweeps.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def make(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("CLSER_CACHE", str(shared / "cache"))
    monkeypatch.setenv("CLSER_METHODS", str(shared / "methods"))

    def request(
        *texts: str,
        method: str = "lean",
        results: str = "results",
        manifest: Path | None = None,
        shots: int | str = 2,
        seeds: int = 2,
        condition: Condition | None = None,
        **options: Any,
    ) -> Request:
        config = Request(
            manifests=(manifest or shared / "corpora" / "manifest.csv",),
            pairs=(PAIR,),
            methods=(method,),
            shots=(shots,),  # type: ignore[arg-type]
            seeds=seeds,
            condition=condition or Condition(),
            results=tmp_path / f"{results}.sqlite",
            scheduler="local",
            workers=1,
        )
        usual: dict[str, Any] = {"objective": "entropy", "samples": 6, "population": 4}
        space = read_space(method, "", texts or ("lean=-5:5",))
        return Request(config=config, space=space, **{**usual, **options})

    return request


def records(request: Request) -> list[Record]:
    with Store(request.config.results, create=False) as store:
        return list(store.records())


def relabelled(folder: Path, relabel: Callable[[list[str]], Sequence[str]]) -> Path:
    """The manifest of the corpora with other emotions for X, beside the same recordings."""
    source, place = folder / "manifest.csv", folder / f"{relabel.__name__}.csv"
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    target = [row for row in rows if row["corpus"] == "X"]
    for row, emotion in zip(target, relabel([row["emotion"] for row in target]), strict=True):
        row["emotion"] = emotion
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return place


def swapped(labels: list[str]) -> list[str]:
    return [{"anger": "sadness", "sadness": "anger"}[label] for label in labels]


def shuffled(labels: list[str]) -> list[str]:
    return [labels[i] for i in np.random.default_rng(3).permutation(len(labels))]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_choice_of_a_criterion_does_not_depend_on_the_target_s_labels(
    make: Make, criterion: str, shared: Path
) -> None:
    """Not the best point alone: every objective of every point is the same."""
    texts = ("lean=-3,-1,1,3", "noise=0.1,1")
    asked = {"objective": criterion, "shots": 10, "search": "grid", "samples": 8}
    before = sweep(make(*texts, **asked))
    assert len(before.points) == 9
    assert len({point.draws for point in before.points}) > 1, "all points are alike"
    for number, relabel in enumerate((swapped, shuffled)):
        other = relabelled(shared / "corpora", relabel)
        after = sweep(make(*texts, **asked, manifest=other, results=f"other-{number}"))
        assert after == before
    assert not before.oracle
    assert all(point.uars == () for point in before.points)


def test_the_oracle_follows_the_labels_and_says_so(make: Make, shared: Path) -> None:
    texts = ("lean=-3,-1,1,3", "noise=0.1,1")
    asked = {"objective": "oracle", "shots": 10, "search": "grid", "samples": 8}
    before = sweep(make(*texts, **asked))
    other = relabelled(shared / "corpora", swapped)
    after = sweep(make(*texts, **asked, manifest=other, results="other"))
    assert after.oracle
    assert after.best != before.best
    for one, two in zip(before.points, after.points, strict=True):
        np.testing.assert_allclose(np.add(one.draws, two.draws), 100.0)
        assert one.uars == one.draws


def test_objectives_are_those_of_the_stored_scores(make: Make) -> None:
    """Mean over pairs of minus the entropy, by a plain formula."""
    request = make("lean=-5:5", "noise=1", seeds=3)
    request = dataclasses.replace(request, config=dataclasses.replace(request.config, pairs=()))
    swept = sweep(request)
    assert swept.pairs == 2
    by_point: dict[float, dict[int, list[float]]] = {}
    for record in records(request):
        p = np.exp(record.scores - record.scores.max(1, keepdims=True).astype(float))
        p /= p.sum(1, keepdims=True)
        value = float(np.mean(np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1)))
        lean = float(dict(record.trial.parameters)["lean"])
        by_point.setdefault(lean, {}).setdefault(record.trial.seed, []).append(value)
    assert len(swept.points) == len(by_point) == 7
    for point in swept.points:
        expected = [np.mean(by_point[float(point.values[0])][seed]) for seed in range(3)]
        np.testing.assert_allclose(point.draws, expected, rtol=1e-5, atol=1e-12)
    means = [np.mean(point.draws) for point in swept.points]
    assert swept.best == int(np.argmax(means))


class Stopped:
    """Runs packs, and is interrupted after some."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.whole = local.run_packs

    def __call__(self, packs: Sequence[Pack], *, done: Any, **rest: Any) -> None:
        def stop(pack: Pack, outcomes: Sequence[Outcome]) -> None:
            done(pack, outcomes)
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

        self.whole(packs, done=stop, **rest)


WAYS: dict[str, dict[str, Any]] = {
    "sobol": {},
    "optuna": {"search": "optuna", "samples": 9},
    "agreement": {"objective": "agreement"},
    "halving": {"halving": 2, "seeds": 4, "samples": 6},
    "labels kept back": {"objective": "embedded-validation", "shots": 10},
    "optuna with halving": {"search": "optuna", "halving": 3, "seeds": 3, "samples": 9},
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_an_interrupted_sweep_goes_on_to_the_same_result(
    make: Make, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ("lean=-5:5", "rounds=0:2")
    unbroken = sweep(make(*texts, **WAYS[way], results="unbroken"))
    request = make(*texts, **WAYS[way])
    for after in (1, 2, 2):
        with monkeypatch.context() as patch:
            patch.setattr(local, "run_packs", Stopped(after))
            with pytest.raises(KeyboardInterrupt):
                sweep(request)
    assert sweep(request) == unbroken
    monkeypatch.setattr(main, "execute", lambda *_, **__: pytest.fail("ran again"))
    assert sweep(request) == unbroken


def test_an_interrupted_population_of_a_trained_method_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between the two packs of a population: what is left is packed as before."""
    asked: dict[str, Any] = {"method": "dann", "samples": 10, "population": 10}
    texts = ("adversary_weight=0.01:1", *SHORT)
    packs = packs_of(monkeypatch)
    unbroken = sweep(make(*texts, **asked, results="unbroken"))
    assert [len(pack.jobs) for pack in packs] == [2, 16, 4]
    request = make(*texts, **asked)
    with monkeypatch.context() as patch:
        patch.setattr(local, "run_packs", Stopped(2))
        with pytest.raises(KeyboardInterrupt):
            sweep(request)
    assert len(records(request)) == 2 + 16
    assert sweep(request) == unbroken
    assert len(records(request)) == 11 * 2


def test_a_longer_sweep_keeps_what_was_run(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    short = sweep(make(samples=4))
    ran: list[int] = []

    def counted(left: Work, *arguments: Any, **options: Any) -> None:
        ran.append(left.trials)
        work.execute(left, *arguments, **options)

    monkeypatch.setattr(main, "execute", counted)
    longer = sweep(make(samples=9))
    assert longer.points[:5] == short.points
    assert sum(ran) == 5 * 2


def packs_of(monkeypatch: pytest.MonkeyPatch) -> list[Pack]:
    seen: list[Pack] = []
    whole = local.run_packs

    def run_packs(packs: Sequence[Pack], *, done: Any, **rest: Any) -> None:
        seen.extend(packs)
        whole(packs, done=done, **rest)

    monkeypatch.setattr(local, "run_packs", run_packs)
    return seen


def test_points_share_packs_and_score_as_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packs = packs_of(monkeypatch)
    texts = ("adversary_weight=0.01:1", "learning_rate=0.001:0.01", *SHORT)
    request = make(*texts, method="dann", samples=5, population=5, objective="oracle")
    sweep(request)
    by_points = [len({job.parameters for job in pack.jobs}) for pack in packs]
    assert sorted(by_points) == [1, 5], "the shipped point, and all others together"
    assert max(len(pack.jobs) for pack in packs) == 10
    monkeypatch.undo()
    monkeypatch.setenv("CLSER_CACHE", str(tmp_path.parent / "clser-cache-alone"))
    together = {record.trial.id: record for record in records(request)}
    assert len(together) == 6 * 2
    for parameters in sorted({record.trial.parameters for record in together.values()})[:3]:
        settings = parse_settings([f"dann.{name}={value}" for name, value in parameters])
        alone = dataclasses.replace(
            request.config, settings=settings, seeds=1, results=tmp_path / "alone.sqlite"
        )
        run(alone)
    compared = 0
    with Store(tmp_path / "alone.sqlite", create=False) as store:
        for record in store.records():
            assert record.pack != together[record.trial.id].pack
            np.testing.assert_allclose(
                record.scores, together[record.trial.id].scores, rtol=1e-3, atol=1e-4
            )
            compared += 1
    assert compared == 3


def test_points_that_differ_in_structure_do_not_share(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = packs_of(monkeypatch)
    texts = ("adversary_weight=0.1,1", "steps=3,4", *SHORT[1:])
    sweep(make(*texts, method="dann", search="grid", samples=4, objective="oracle"))
    steps = [{dict(job.parameters)["steps"] for job in pack.jobs} for pack in packs]
    assert all(len(found) == 1 for found in steps)
    shared = [pack for pack in packs if len({job.parameters for job in pack.jobs}) == 2]
    assert len(shared) == 2


def test_halving_gives_the_better_part_more_draws(make: Make) -> None:
    request = make("lean=-2:2", "noise=5", halving=2, seeds=4, samples=8, objective="oracle")
    swept = sweep(request)
    shipped, *others = swept.points
    assert len(shipped.draws) == 4, "what the best is compared with runs to the end"
    assert sorted(len(point.draws) for point in others) == [1, 1, 1, 1, 2, 2, 4, 4]
    assert len(records(request)) == 4 + (4 * 1 + 2 * 2 + 2 * 4)
    for rung in (1, 2):
        went = [np.mean(p.draws[:rung]) for p in others if len(p.draws) > rung]
        stayed = [np.mean(p.draws) for p in others if len(p.draws) == rung]
        assert min(went) >= max(stayed)
    assert len(swept.points[swept.best].draws) == 4
    assert (swept.seeds, swept.search) == (4, "sobol + halving")
    assert all(point.reason == "" for point in swept.points)


def test_points_with_holes_drop_out_with_a_reason(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK", "1")
    for number, options in enumerate(({}, {"halving": 2, "seeds": 4})):
        request = make(samples=8, objective="entropy", results=f"holes-{number}", **options)
        swept = sweep(request)
        broken = [point for point in swept.points if float(point.values[0]) > 1]
        assert 0 < len(broken) < 8
        assert all(not point.reason for point in swept.points if point not in broken)
        for point in broken:
            assert point.draws == ()
            assert point.reason == "W→X, draw 0: RuntimeError: leans too far"
        assert swept.points[swept.best] not in broken


def test_points_with_holes_do_not_fill_the_next_rung(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more than half are broken, fewer than half go on."""
    monkeypatch.setenv("BREAK", "-3")
    request = make("lean=-5:5", samples=8, halving=2, seeds=2, objective="entropy")
    with pytest.raises(SpecError, match="no point of lean has a result"):
        sweep(make("lean=-2:5", halving=2, results="none"))
    swept = sweep(request)
    broken = [point for point in swept.points if float(point.values[0]) > -3]
    assert len(broken) > 4
    failed = [record for record in records(request) if record.status == "failed"]
    assert {len(point.draws) for point in broken} == {0}
    of_others = [r for r in failed if dict(r.trial.parameters)["lean"] != 0.0]
    assert len(of_others) == len(broken) - 1, "each broke at its first draw, and was left there"
    assert swept.best != 0, "the shipped point is broken, too"


def test_of_equal_points_the_earlier_is_best(make: Make) -> None:
    swept = sweep(make("noise=0,1,2", method="fixed", search="grid"))
    assert len({point.draws for point in swept.points}) == 1
    assert swept.best == 0


def test_a_sweep_in_which_nothing_runs_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK", "-9")
    with pytest.raises(SpecError) as error:
        sweep(make("lean=-5:5"))
    for word in ("lean", "every pair", "W→X, draw 0", "leans too far"):
        assert word in str(error.value)


@pytest.mark.parametrize("search", ["sobol", "grid", "optuna"])
def test_a_shipped_value_outside_the_space_is_point_0(make: Make, search: str) -> None:
    swept = sweep(make("lean=2:4", search=search))
    assert swept.points[0].values == (0.0,)
    assert all(2 <= float(point.values[0]) <= 4 for point in swept.points[1:])
    assert [point.number for point in swept.points] == list(range(7))


def test_the_shipped_point_is_not_run_twice(make: Make) -> None:
    request = make("lean=-1,0,1", search="grid")
    swept = sweep(request)
    assert [point.values for point in swept.points] == [(0.0,), (-1.0,), (1.0,)]
    assert len(records(request)) == 3 * 2


def test_what_is_fixed_holds_for_the_shipped_point_too(make: Make) -> None:
    request = make("lean=2:4", "rounds=3", "noise=0.5")
    sweep(request)
    found = {(p["rounds"], p["noise"]) for r in records(request) if (p := dict(r.trial.parameters))}
    assert found == {(3, 0.5)}


def test_agreement_is_with_all_points_whatever_the_population(make: Make) -> None:
    found = [
        sweep(make("noise=0:9", objective="agreement", population=size, results=f"of-{size}"))
        for size in (2, 6)
    ]
    assert found[0] == found[1]
    assert len({point.draws for point in found[0].points}) > 1


def test_nothing_is_drawn_twice_where_nothing_is_random(make: Make) -> None:
    for number, halving in enumerate((0, 2)):
        request = make(
            method="fixed", shots="all", seeds=4, halving=halving, results=f"fixed-{number}"
        )
        swept = sweep(request)
        assert swept.seeds == 1
        assert {len(point.draws) for point in swept.points} == {1}
        assert len(records(request)) == 7


def test_labels_kept_back_are_a_setting_of_their_own(make: Make) -> None:
    """Trials of a sweep by source labels never stand for results, nor the other way round."""
    request = make(shots=10, objective="source-accuracy", samples=2)
    sweep(request)
    held = {record.trial.id: record for record in records(request)}
    assert {r.trial.condition.setting for r in held.values()} == {"held-out"}
    assert {len(r.y) for r in held.values()} == {2 * 2}
    sweep(dataclasses.replace(request, objective="entropy"))
    more = [r for r in records(request) if r.trial.id not in held]
    assert {r.trial.condition.setting for r in more} == {"transductive"}
    assert {len(r.y) for r in more} == {24}


@pytest.mark.parametrize("how", ["corpus", "speaker", "source", "none"])
def test_the_target_s_table_has_the_source_s_rows_below(make: Make, how: str) -> None:
    """As methods get them: either side as in the usual setting, one below the other."""
    config = make(shots=10, seeds=1).config
    rules = Condition(normalisation=how)  # type: ignore[arg-type]
    plain, held = (
        make_plan(
            dataclasses.replace(config, condition=dataclasses.replace(rules, setting=setting))
        )
        for setting in ("transductive", "held-out")
    )
    (one,), (other,) = plain.folds(plain.trials[0]), held.folds(held.trials[0])
    assert plain.trials[0].id != held.trials[0].id
    for name in ("instants", "summary"):
        own, target = (getattr(side, name) for side in (one.problem.source, one.problem.target))
        assert getattr(other.problem.source, name).tobytes() == own.tobytes()
        both = getattr(other.problem.target, name)
        assert both.tobytes() == np.concatenate([target, own]).tobytes()
    assert other.problem.scored.min() >= len(one.problem.target)
    assert set(other.key.names) <= {f"W-{end}" for end in _names(one.key.names)}


def _names(names: Sequence[str]) -> list[str]:
    """File names without the corpus."""
    return [name.partition("-")[2] for name in names]


def test_the_inductive_setting_is_swept_too(make: Make) -> None:
    request = make(condition=Condition(setting="inductive"), samples=2)
    assert len(sweep(request).points) == 3
    assert {record.trial.condition.setting for record in records(request)} == {"inductive"}


def test_the_result_says_what_was_asked(make: Make) -> None:
    swept: SweepResult = sweep(make(samples=2, command="the command"))
    assert (swept.method, swept.objective, swept.unit) == ("lean", "entropy", "nats")
    assert swept.suite.startswith("custom-")
    assert (swept.pairs, swept.shots, swept.seeds) == (1, "2", 2)
    assert (swept.features, swept.normalisation) == ("minimal", "corpus")
    assert (swept.search, swept.command) == ("sobol", "the command")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, ["samples 0", "positive"]),
        ({"population": 0}, ["population 0", "positive"]),
        ({"halving": 1}, ["halving 1", "2 or more"]),
        ({"halving": -2}, ["halving -2", "0 for none"]),
        ({"objective": "entropie"}, ["'entropie'", "did you mean 'entropy'"]),
        ({"objective": "source-risk", "shots": 9}, ["'source-risk'", "below 10 shots", "got 9"]),
    ],
)
def test_requests_that_are_wrong_are_refused(
    make: Make, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as error:
        make(**options)
    for word in words:
        assert word in str(error.value)


def test_a_sweep_is_of_one_method_and_number_of_shots(make: Make) -> None:
    request = make()
    for what, changed in (("method", {"methods": ("lean", "fixed")}), ("shots", {"shots": (1, 2)})):
        with pytest.raises(SpecError, match=f"a sweep is of one .*{what}"):
            dataclasses.replace(request, config=dataclasses.replace(request.config, **changed))


def test_what_is_wrong_is_said_before_any_trial(make: Make) -> None:
    for options, words in (
        ({"search": "gird"}, "did you mean 'grid'"),
        ({"search": "grid", "samples": 1}, "--samples is 1"),
    ):
        request = make(**options)
        with pytest.raises(SpecError, match=words):
            sweep(request)
        assert not request.config.results.exists()
    request = make(objective="dev")
    elsewhere = dataclasses.replace(request.config, suite="bcro")
    with pytest.raises(SpecError, match=r"got --suite bcro; .*--objective oracle"):
        sweep(dataclasses.replace(request, config=elsewhere))
    assert not request.config.results.exists()


def test_sweeps_leave_no_plan_that_a_table_would_show(make: Make) -> None:
    request = make(samples=2)
    sweep(request)
    with Store(request.config.results) as store:
        assert store.slices() == ()
        assert store.runs() == ()


def test_populations_are_asked_in_turn_and_told_their_objectives(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[int, list[float]]] = []

    class Spied:
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.real = new_search(*arguments, **options)
            self.ask = self.real.ask

        def tell(self, objectives: Sequence[float]) -> None:
            heard.append((len(objectives), list(objectives)))
            self.real.tell(objectives)

    monkeypatch.setattr(main, "new_search", Spied)
    swept = sweep(make(samples=9, search="optuna"))
    assert [count for count, _ in heard] == [4, 4, 1]
    values = list(itertools.chain.from_iterable(told for _, told in heard))
    np.testing.assert_allclose(values, [np.mean(point.draws) for point in swept.points[1:]])
