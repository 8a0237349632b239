"""Steps of training, outcomes of jobs when memory runs out or something breaks, and joules."""

from __future__ import annotations

import ctypes
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clser_bench import registry
from clser_bench.errors import MissingExtraError
from clser_bench.hashing import generator
from clser_bench.problem import Job, Outcome
from clser_bench.scoring.metrics import score
from clser_bench.train import execute as module
from clser_bench.train.batches import batches, draws
from clser_bench.train.check import example_problem
from clser_bench.train.engine import Result, StackedAdam, rate_scale, train_pack
from clser_bench.train.execute import execute
from clser_bench.train.loop import train_one
from tests.records import answer_key, trial

PROBLEM = example_problem()
ONE_HOT = np.eye(3)[np.arange(36) % 3]


def jobs(count: int, name: str = "dann") -> list[Job]:
    short = {"steps": 4, "target_batch": 12, "source_batch": 12} if name == "dann" else {}
    made = []
    for n in range(count):
        weight = {"adversary_weight": 0.1 * (n + 1)} if name == "dann" else {}
        parameters = registry.create(name, {**short, **weight}).parameters()
        made.append(Job(id=f"j{n}", method=name, parameters=parameters, problem=PROBLEM, seed=n))
    return made


def breaks(*_: Any, **__: Any) -> list[Result]:
    raise ValueError("does not converge")


class Memory:
    """Holds packs up to a size; remembers sizes and devices."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []
        self.devices: set[str] = set()

    def __call__(self, methods: Sequence[Any], *rest: Any, device: str) -> list[Result]:
        self.sizes.append(len(methods))
        self.devices.add(device)
        if len(methods) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_pack(methods, *rest)


def same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    assert [one.id for one in found] == [one.id for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.status == "ok", one.reason
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("count", "most", "sizes"),
    [(8, 8, [8]), (8, 2, [8, 4, 2, 2, 4, 2, 2]), (7, 3, [7, 3, 4, 2, 2]), (4, 0, [4, 2, 2])],
)
def test_a_pack_that_does_not_fit_is_halved(monkeypatch, count, most, sizes):
    """One alone is trained on the CPU, where it fits."""
    expected = execute(jobs(count))
    held = Memory(most)
    monkeypatch.setattr(module, "train_pack", held)
    same(execute(jobs(count), device="cuda:0"), expected)
    assert (held.sizes, held.devices) == (sizes, {"cuda:0"})


@pytest.mark.parametrize(
    ("pack", "error"), [(Memory(1), torch.OutOfMemoryError), (breaks, ValueError)]
)
def test_what_breaks_a_pack_fails_alone_and_the_others_go_on(monkeypatch, pack, error):
    expected = execute(jobs(4))

    def one(method: Any, problem: Any, seed: int) -> Result:
        if seed == 2:
            raise error("this is the one")
        return train_one(method, problem, seed)

    monkeypatch.setattr(module, "train_pack", pack)
    monkeypatch.setattr(module, "train_one", one)
    found = execute(jobs(4))
    failed = found.pop(2)
    assert failed.status == "failed"
    assert "Traceback" in failed.reason
    assert f"{error.__name__}: this is the one" in failed.reason
    same(found, expected[:2] + expected[3:])


def test_what_does_not_apply_stays_out_of_the_pack(monkeypatch):
    held = Memory(8)
    monkeypatch.setattr(module, "train_pack", held)
    mixed = jobs(3)
    mixed[1] = replace(mixed[1], problem=replace(PROBLEM, target=example_problem(d=4, f=7).target))
    found = execute(mixed)
    assert [one.status for one in found] == ["ok", "not_applicable", "ok"]
    assert "same size" in found[1].reason
    assert (held.sizes, held.devices) == ([2], {"cpu"})
    assert [one.id for one in found] == ["j0", "j1", "j2"]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (np.zeros((36, 2)), "wanted (36, 3)"),
        (np.zeros(36), "wanted (36, 3)"),
        (np.full((36, 3), np.nan), "the scores are not finite"),
        (np.ones((36, 3)) + 1j, "real numbers are needed"),
        (np.full((36, 3), "a"), "real numbers are needed"),
        (ONE_HOT * 1e-60, "the scores of 24 of 36 utterances lose their order in float32"),
        (1 + 1e-9 * ONE_HOT, "return log-probabilities"),
        ((1 + ONE_HOT) * 1e300, "lose their order in float32"),
        (np.full((36, 3), 1e300), "return log-probabilities"),
    ],
)
def test_scores_of_fitted_methods_are_checked(monkeypatch, scores, words):
    monkeypatch.setattr(registry.load("lda"), "fit_predict", lambda *_: scores)
    (found,) = execute(jobs(1, "lda"))
    assert found.status == "failed"
    assert words in found.reason


def test_ties_and_whole_numbers_are_scores_and_keep_their_class(monkeypatch):
    for scores in (-ONE_HOT, ONE_HOT.astype(bool), np.zeros((36, 3), np.int8)):
        monkeypatch.setattr(registry.load("lda"), "fit_predict", lambda *_, made=scores: made)
        (found,) = execute(jobs(1, "lda"))
        assert found.scores.argmax(1).tolist() == scores.argmax(1).tolist()
    scores = np.log(0.1 + ONE_HOT)
    scores[7] = [-1.0, -1.0 + 1e-12, -2.0]  # a tie by rounding
    stored = module.stored_scores(scores, 36, 3)
    assert stored.argmax(axis=1).tolist() == scores.argmax(axis=1).tolist()
    np.testing.assert_allclose(stored, scores, rtol=2e-7)


def test_fitted_methods_are_never_packed(monkeypatch):
    monkeypatch.setattr(module, "train_pack", lambda *_, **__: pytest.fail("packed"))
    found = execute(jobs(3, "lda"), device="cuda")
    assert [one.status for one in found] == ["ok"] * 3
    assert execute([]) == []


@pytest.mark.parametrize("answer", [1, 0, OSError, AttributeError, TypeError])
def test_the_allocator_is_given_both_thresholds_unless_it_refuses(monkeypatch, answer):
    given: list[tuple[int, ...]] = []

    def mallopt(*option: int) -> int:
        given.append(option)
        return answer

    def library(_: object) -> types.SimpleNamespace:
        if isinstance(answer, type):
            raise answer
        return types.SimpleNamespace(mallopt=mallopt)

    monkeypatch.setattr(ctypes, "CDLL", library)
    assert module.keep_freed_memory.__wrapped__() is (answer == 1)
    both = [(-3, 32 * 2**20), (-1, 2**31 - 1)]
    assert given == {1: both, 0: both[:1]}.get(answer, [])


# joules

KWH = 1 / 3.6e6
"""A joule."""


@dataclass
class Fake:
    """Says what codecarbon would: 6 J of the CPU, 30 J of GPUs and 500 J of memory a task."""

    said: list[str] = field(default_factory=list)
    broken: str = ""

    def start_task(self) -> None:
        self._do("start")

    def stop_task(self) -> types.SimpleNamespace:
        self._do("stop")
        joules = {"cpu_energy": 6 * KWH, "gpu_energy": 30 * KWH, "ram_energy": 500 * KWH}
        return types.SimpleNamespace(**joules, energy_consumed=536 * KWH)

    def _do(self, what: str) -> None:
        if self.broken == what:
            raise PermissionError("energy_uj")
        self.said.append(what)


@pytest.fixture
def fake(monkeypatch):
    """Stands in for the tracker of this process."""
    made, options = Fake(), []

    def tracker(**given: object) -> Fake:
        options.append((given["tracking_mode"], given["output_methods"]))
        return made

    codecarbon = types.SimpleNamespace(OfflineEmissionsTracker=tracker)
    monkeypatch.setitem(sys.modules, "codecarbon", codecarbon)
    module._tracker.cache_clear()
    yield made
    module._tracker.cache_clear()
    assert options in ([], [("process", [])]), "one tracker a process"


@pytest.mark.parametrize("broken", ["start", "stop", "absent"])
def test_a_meter_that_fails_or_is_absent_costs_no_trial(fake, monkeypatch, broken):
    fake.broken = broken
    if broken == "absent":
        monkeypatch.setitem(sys.modules, "codecarbon", None)
        extra = r"--with energy needs .*clser-bench\[energy\]"
        with pytest.raises(MissingExtraError, match=extra):
            module.require_meter()
    (outcome,) = execute(jobs(1, "logistic"), energy=True)
    assert (outcome.status, outcome.energy) == ("ok", None)


@pytest.mark.parametrize(("device", "joules"), [("cpu", 6), ("cuda", 36)])
def test_jobs_share_joules_and_a_diverged_one_has_its_reason(fake, monkeypatch, device, joules):
    results = [Result(np.ones((36, 3)))] * 2 + [Result(np.zeros((0, 0)), "not finite at step 3")]
    monkeypatch.setattr(module, "train_pack", lambda *_, **__: results)
    *done, failed = outcomes = execute(jobs(3), device=device, energy=True)
    assert {(one.status, one.scores.dtype) for one in done} == {("ok", np.dtype(np.float32))}
    assert (failed.status, failed.reason) == ("failed", "not finite at step 3")
    assert [outcome.energy for outcome in outcomes] == [pytest.approx(joules / 3)] * 3
    assert {outcome.energy for outcome in execute(jobs(3))} == {None}, "not asked for"
    assert fake.said == ["start", "stop"]


def test_jobs_one_by_one_share_by_their_time(fake, monkeypatch):
    clock = [0.0]

    def slept(job: Job, _: object) -> Outcome:
        clock[0] += 0.1 * job.seed
        return Outcome(id=job.id, status="ok")

    monkeypatch.setattr(module, "_alone", slept)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    outcomes = execute(jobs(3, "logistic"), energy=True)
    # 0, 0.1 and 0.2 s of 0.3
    assert [outcome.energy for outcome in outcomes] == [pytest.approx(x) for x in (0, 2, 4)]
    assert fake.said == ["start", "stop"]


def test_a_pack_that_breaks_is_metered_again_job_by_job(fake, monkeypatch):
    monkeypatch.setattr(module, "train_pack", breaks)
    monkeypatch.setattr(module, "_alone", lambda job, _: Outcome(id=job.id, status="ok"))
    outcomes = execute(jobs(2), energy=True)
    assert sum(outcome.energy or 0.0 for outcome in outcomes) == pytest.approx(6)
    assert fake.said == ["start", "stop"] * 2


@pytest.mark.parametrize(
    ("folds", "whole"), [((1.5, 2.0), 3.5), ((1.5, None), None), ((None, None), None)]
)
def test_a_trial_has_the_joules_of_all_its_folds(folds, whole):
    key = answer_key([0, 1, 2])
    scores = np.eye(3, dtype=np.float32)
    outcomes = [Outcome(id="f", status="ok", scores=scores, energy=joules) for joules in folds]
    assert score(trial(), outcomes, [key, key]).energy == whole


def test_a_busy_second_uses_joules():
    pytest.importorskip("codecarbon")
    module._tracker.cache_clear()
    with module.metered(True) as used:
        end = time.perf_counter() + 1
        while time.perf_counter() < end:
            sum(range(1000))
    with module.metered(True) as idle:
        time.sleep(0.5)
    assert used.joules is not None
    assert idle.joules is not None
    assert 0 < used.joules < 2000  # no processor takes 2 kW
    assert idle.joules >= 0


# rows of a step, and the stacked optimiser


@given(n=st.integers(1, 50), size=st.integers(1, 60), steps=st.integers(1, 20))
def test_batches_cover_rows_evenly(n, size, steps):
    found = batches(generator("test", n, size), n, size=size, steps=steps)
    assert found.shape == (steps, size)
    assert found.min() >= 0
    assert found.max() < n
    if n >= size:
        assert all(len(set(row)) == size for row in found)
    else:
        counts = np.bincount(found.reshape(-1), minlength=n)
        assert counts.max() - counts.min() <= 1


@given(shots=st.integers(1, 6), wanted=st.integers(1, 9))
def test_labelled_part_is_class_balanced(shots, wanted):
    problem = example_problem(shots=shots)
    method = registry.create("source-only", {"steps": 3, "labelled_batch": wanted})
    drawn = draws(method, problem, 5, bank=100)
    y = problem.labelled.y[drawn.labelled]
    for row in y:
        assert np.bincount(row).tolist() == [min(shots, wanted)] * 3


def test_parts_have_generators_of_their_own():
    problem = example_problem()
    few = draws(registry.create("source-only", {"target_batch": 5}), problem, 5, bank=100)
    many = draws(registry.create("source-only", {"target_batch": 9}), problem, 5, bank=100)
    np.testing.assert_array_equal(few.labelled, many.labelled)
    np.testing.assert_array_equal(few.source, many.source)
    assert (draws(registry.create("source-only"), problem, 6, bank=100).target[0] != 0).any()


def test_the_stacked_optimiser_equals_torch_for_each_trial():
    draw = torch.Generator().manual_seed(0)
    rates, decays = [1e-3, 1e-2, 1e-2, 0.5, 1e-2], [0.0, 0.1, 0.1, 1.0, 0.1]
    flat = torch.randn(5, 7, generator=draw, dtype=torch.float64)
    theirs = [torch.nn.Parameter(row.clone()) for row in flat]
    optimiser = torch.optim.Adam([{"params": [parameter]} for parameter in theirs])
    ours = StackedAdam([flat], rates, decays)
    for step in range(25):
        gradient = torch.randn(5, 7, generator=draw, dtype=torch.float64)
        scale, penalised = rate_scale("cosine", step / 25), step % 3 != 2
        ours.step({0: gradient}, scale, penalised=penalised)
        for group, row, rate, decay in zip(
            optimiser.param_groups, gradient, rates, decays, strict=True
        ):
            group["params"][0].grad = row.clone()
            group["lr"], group["weight_decay"] = rate * scale, decay * penalised
        optimiser.step()
    torch.testing.assert_close(flat, torch.stack(list(theirs)).detach(), rtol=0, atol=1e-12)


def test_cosine_goes_from_one_to_zero():
    assert rate_scale("cosine", 0.0) == 1.0
    assert abs(rate_scale("cosine", 0.5) - 0.5) < 1e-12
    assert abs(rate_scale("cosine", 1.0)) < 1e-12
    assert rate_scale("none", 0.7) == 1.0
