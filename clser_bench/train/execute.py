"""The jobs of a pack as outcomes."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import time
import traceback
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from clser_bench.errors import MethodError, NotApplicableError
from clser_bench.hashing import generator
from clser_bench.problem import Floats, Job, Outcome
from clser_bench.registry import create
from clser_bench.train.contract import Fitted, Method, Trained
from clser_bench.train.energy import metered
from clser_bench.train.engine import Result, train_pack
from clser_bench.train.loop import train_one

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 32 << 20
"""The most that glibc takes for its threshold."""


@functools.cache
def keep_freed_memory() -> bool:
    """Let freed blocks stay with the process, once; whether the allocator accepted it.

    Every step allocates the same tensors. By default glibc gives blocks back to the system as
    they are freed and the next step faults every page in again: thousands of page faults a step,
    a fifth of a pack's time where tensors are large (benchmarks/packing.py).
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False  # another C library: slower, nothing else
    return bool(tell(_MMAP_THRESHOLD, _LARGEST)) and bool(tell(_TRIM_THRESHOLD, 2**31 - 1))


def execute(
    jobs: Sequence[Job], *, threads: int = 1, device: str = "cpu", energy: bool = False
) -> list[Outcome]:
    """Run the jobs of one pack.

    A job that fails or does not apply is an outcome with its reason; it never stops the others.

    Args:
        jobs: of one method, with tensors of the same shapes (`run.plan`).
        threads: cores that this process may use.
        device: where packs are trained; what cannot be packed stays on the CPU.
        energy: measure joules; jobs that run one by one share theirs by their time.

    Returns:
        One outcome a job, in order.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    methods = [create(job.method, dict(job.parameters)) for job in jobs]
    outcomes: dict[int, Outcome] = {}
    for index, (job, method) in enumerate(zip(jobs, methods, strict=True)):
        reason = method.not_applicable(job.problem)
        if reason:
            outcomes[index] = Outcome(id=job.id, status="not_applicable", reason=reason)
    open_ones = [index for index in range(len(jobs)) if index not in outcomes]
    with threadpool_limits(limits=threads):
        outcomes.update(_run(open_ones, jobs, methods, device, energy=energy))
    return [outcomes[index] for index in range(len(jobs))]


def _run(
    indices: Sequence[int],
    jobs: Sequence[Job],
    methods: Sequence[Method],
    device: str,
    *,
    energy: bool,
) -> list[tuple[int, Outcome]]:
    packable = [m for i in indices if isinstance(m := methods[i], Trained) and m.packable]
    if len(indices) < 2 or len(packable) < len(indices):
        return _one_by_one(indices, jobs, methods, energy=energy)
    try:
        with metered(energy, gpu=device != "cpu") as used:
            started = time.perf_counter()
            results = train_pack(
                packable,
                [jobs[i].problem for i in indices],
                [jobs[i].seed for i in indices],
                device=device,
            )
            share = (time.perf_counter() - started) / len(indices)
    except torch.OutOfMemoryError:
        half = len(indices) // 2
        parts = (indices[:half], indices[half:])
        return [
            found for part in parts for found in _run(part, jobs, methods, device, energy=energy)
        ]
    except Exception:  # noqa: BLE001
        # One trial can break the whole pack (a decomposition that does not converge); each
        # is then run alone, so that only the one at fault fails, with its own traceback.
        return _one_by_one(indices, jobs, methods, energy=energy)
    outcomes = [
        _outcome(jobs[i], result, share) for i, result in zip(indices, results, strict=True)
    ]
    return list(zip(indices, _charged(outcomes, used.joules, [share] * len(outcomes)), strict=True))


def _one_by_one(
    indices: Sequence[int], jobs: Sequence[Job], methods: Sequence[Method], *, energy: bool
) -> list[tuple[int, Outcome]]:
    # Metered together: many a fit is shorter than what a meter can tell.
    outcomes, times = [], []
    with metered(energy and len(indices) > 0) as used:
        for i in indices:
            started = time.perf_counter()
            outcomes.append(_alone(jobs[i], methods[i]))
            times.append(time.perf_counter() - started)
    return list(zip(indices, _charged(outcomes, used.joules, times), strict=True))


def _charged(
    outcomes: Sequence[Outcome], joules: float | None, times: Sequence[float]
) -> list[Outcome]:
    """Outcomes with their shares of what they used together, by their times in seconds."""
    if joules is None:
        return list(outcomes)
    whole = sum(times)
    return [
        dataclasses.replace(outcome, energy=joules * seconds / whole)
        for outcome, seconds in zip(outcomes, times, strict=True)
    ]


def _alone(job: Job, method: Method) -> Outcome:
    started = time.perf_counter()
    try:
        if isinstance(method, Fitted):
            result = _fit(method, job)
        else:
            result = train_one(cast(Trained, method), job.problem, job.seed)
    except NotApplicableError as error:
        return Outcome(id=job.id, status="not_applicable", reason=str(error))
    except Exception:  # noqa: BLE001
        # Whatever a plugin raises is that trial's failure, kept with its traceback.
        return Outcome(id=job.id, status="failed", reason=traceback.format_exc())
    return _outcome(job, result, time.perf_counter() - started)


def _fit(method: Fitted, job: Job) -> Result:
    return Result(np.asarray(method.fit_predict(job.problem, generator(job.seed, "fit"))))


def _outcome(job: Job, result: Result, seconds: float) -> Outcome:
    reason = result.failure
    if not reason:
        try:
            scores = stored_scores(result.scores, len(job.problem.scored), len(job.problem.classes))
            return Outcome(id=job.id, status="ok", scores=scores, seconds=seconds)
        except MethodError as error:
            reason = str(error)
    return Outcome(id=job.id, status="failed", reason=reason, seconds=seconds)


def stored_scores(scores: npt.NDArray[Any], rows: int, classes: int) -> Floats:
    """Scores as they are stored, float32, whose largest are those of the float64 scores.

    Rounding may tie the two largest scores of a single row: the larger one is then raised to the
    next float32 number. Where more than one row in a hundred loses its order, the scale of the
    scores is at fault.

    Args:
        scores: as a method returned them.
        rows: n wanted.
        classes: c wanted.

    Raises:
        MethodError: the scores have another shape or type, are not finite, or lose their order.
    """
    if scores.shape != (rows, classes):
        raise MethodError(
            f"scores have shape {scores.shape}; wanted {(rows, classes)}: a row for each scored "
            "utterance, a column for each class"
        )
    if scores.dtype.kind not in "fiub":
        raise MethodError(f"scores have the type {scores.dtype}; real numbers are needed")
    exact = scores.astype(np.float64)
    if not np.isfinite(exact).all():
        raise MethodError("the scores are not finite")
    with np.errstate(over="ignore", under="ignore"):
        rounded = exact.astype(np.float32)
    best = exact.argmax(axis=1)
    lost = np.flatnonzero(best != rounded.argmax(axis=1))
    if len(lost) > max(1, rows // 100) or not np.isfinite(rounded).all():
        raise MethodError(
            f"the scores of {len(lost)} of {rows} utterances lose their order in float32 "
            f"(they lie between {exact.min():g} and {exact.max():g}); return log-probabilities"
        )
    rounded[lost, best[lost]] = np.nextafter(rounded[lost].max(axis=1), np.float32(np.inf))
    return rounded
