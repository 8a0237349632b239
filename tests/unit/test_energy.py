"""Joules: the meter with a tracker made up for it, shares of packs, and one true measurement."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from clser_bench.errors import MissingExtraError
from clser_bench.problem import Job, Outcome
from clser_bench.scoring.metrics import score
from clser_bench.train import execute as engine
from clser_bench.train.check import example_problem
from clser_bench.train.engine import Result
from clser_bench.train.execute import execute
from tests.records import answer_key, trial

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
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """Stands in for the tracker of this process."""
    made = Fake()
    options: list[dict[str, object]] = []

    def tracker(**given: object) -> Fake:
        options.append(given)
        return made

    module = types.ModuleType("codecarbon")
    module.OfflineEmissionsTracker = tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    engine._tracker.cache_clear()
    yield made
    engine._tracker.cache_clear()
    assert len(options) <= 1, "one tracker a process"
    for given in options:
        assert (given["tracking_mode"], given["output_methods"]) == ("process", [])


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if codecarbon were not installed."""
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    engine._tracker.cache_clear()
    yield
    engine._tracker.cache_clear()


def jobs(method: str, count: int) -> list[Job]:
    problem = example_problem()
    return [
        Job(id=str(seed), method=method, parameters=(), problem=problem, seed=seed)
        for seed in range(count)
    ]


@pytest.mark.parametrize(
    ("wanted", "gpu", "joules"), [(True, False, 6), (True, True, 36), (False, False, None)]
)
def test_a_block_is_a_task_and_memory_does_not_count(
    fake: Fake, wanted: bool, gpu: bool, joules: float | None
) -> None:
    with engine.metered(wanted, gpu=gpu) as used:
        assert fake.said == ["start"] * wanted
        assert used.joules is None
    assert fake.said == ["start", "stop"] * wanted
    assert used.joules == (joules and pytest.approx(joules))


def test_a_block_that_fails_ends_its_task(fake: Fake) -> None:
    with pytest.raises(ValueError, match="mine"), engine.metered(True):
        raise ValueError("mine")
    assert fake.said == ["start", "stop"]


@pytest.mark.parametrize("broken", ["start", "stop"])
def test_a_meter_that_fails_costs_no_trial(fake: Fake, broken: str) -> None:
    fake.broken = broken
    (outcome,) = execute(jobs("logistic", 1), energy=True)
    assert (outcome.status, outcome.energy) == ("ok", None)


@pytest.mark.usefixtures("without")
def test_a_node_without_codecarbon_runs_without_joules_and_the_extra_is_named() -> None:
    (outcome,) = execute(jobs("logistic", 1), energy=True)
    assert (outcome.status, outcome.energy) == ("ok", None)
    with pytest.raises(MissingExtraError, match=r"--with energy needs .*clser-bench\[energy\]"):
        engine.require_meter()


@pytest.mark.parametrize(("device", "joules"), [("cpu", 6), ("cuda", 36)])
def test_jobs_of_a_pack_have_equal_shares(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, device: str, joules: float
) -> None:
    results = [Result(np.ones((36, 3)))] * 2 + [Result(np.zeros((0, 0)), "diverged")]
    monkeypatch.setattr(engine, "train_pack", lambda *_, **__: results)
    outcomes = execute(jobs("dann", 3), device=device, energy=True)
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "failed"]
    assert [outcome.energy for outcome in outcomes] == [pytest.approx(joules / 3)] * 3
    assert fake.said == ["start", "stop"]


def test_jobs_one_by_one_share_by_their_time(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def slept(job: Job, _: object) -> Outcome:
        clock[0] += 0.1 * int(job.id)
        return Outcome(id=job.id, status="ok")

    monkeypatch.setattr(engine, "_alone", slept)
    monkeypatch.setattr(engine.time, "perf_counter", lambda: clock[0])
    outcomes = execute(jobs("logistic", 3), energy=True)
    shares = [outcome.energy or 0.0 for outcome in outcomes]
    # 0, 0.1 and 0.2 s of 0.3
    assert shares == [pytest.approx(x) for x in (0, 2, 4)]
    assert sum(shares) == pytest.approx(6)
    assert fake.said == ["start", "stop"]


def test_a_pack_that_breaks_is_metered_again_job_by_job(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object, **__: object) -> list[Result]:
        raise RuntimeError("no decomposition")

    monkeypatch.setattr(engine, "train_pack", breaks)
    monkeypatch.setattr(engine, "_alone", lambda job, _: Outcome(id=job.id, status="ok"))
    outcomes = execute(jobs("dann", 2), energy=True)
    assert sum(outcome.energy or 0.0 for outcome in outcomes) == pytest.approx(6)
    assert fake.said == ["start", "stop"] * 2


def test_a_run_without_joules_has_none(fake: Fake) -> None:
    assert [outcome.energy for outcome in execute(jobs("logistic", 2))] == [None, None]
    assert fake.said == []


@pytest.mark.parametrize(
    ("folds", "whole"), [((1.5, 2.0), 3.5), ((1.5, None), None), ((None, None), None)]
)
def test_a_trial_has_the_joules_of_all_its_folds(
    folds: tuple[float | None, ...], whole: float | None
) -> None:
    key = answer_key([0, 1, 2])
    scores = np.eye(3, dtype=np.float32)
    outcomes = [Outcome(id="f", status="ok", scores=scores, energy=joules) for joules in folds]
    assert score(trial(), outcomes, [key, key]).energy == whole


def test_a_busy_second_uses_joules() -> None:
    pytest.importorskip("codecarbon")
    engine._tracker.cache_clear()
    with engine.metered(True) as used:
        end = time.perf_counter() + 1
        while time.perf_counter() < end:
            sum(range(1000))
    with engine.metered(True) as idle:
        time.sleep(0.5)
    assert used.joules is not None
    assert idle.joules is not None
    assert 0 < used.joules < 2000  # no processor takes 2 kW
    assert idle.joules >= 0
