"""The jobs of a pack as outcomes, and the joules that they used."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import logging
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from clser_bench.errors import MethodError, MissingExtraError, NotApplicableError
from clser_bench.hashing import generator
from clser_bench.problem import Floats, Job, Outcome
from clser_bench.registry import create
from clser_bench.train.contract import Fitted, Method, Trained
from clser_bench.train.engine import Result, train_pack
from clser_bench.train.loop import train_one

_JOULES = 3.6e6  # of a kilowatt-hour
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 32 << 20  # the most that glibc takes for its threshold


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


@dataclass
class Used:
    """Joules of a block, once it is over; None where nothing was measured."""

    joules: float | None = None


@contextlib.contextmanager
def metered(wanted: bool, *, gpu: bool = False) -> Iterator[Used]:
    """Measure what a block of this process uses, where it is wanted; none lies inside another.

    The processors count: the CPU, and the GPU where the block trains on one. Memory does not:
    codecarbon gives each process at least 10 W for it, however little it holds.
    """
    used, running = Used(), False
    # A node without codecarbon, or a counter that may not be read, must not cost a trial.
    with contextlib.suppress(Exception):
        if wanted:
            _tracker().start_task()
            running = True
    try:
        yield used
    finally:
        with contextlib.suppress(Exception):
            if running:
                found = _tracker().stop_task()
                used.joules = float(
                    _JOULES * (found.cpu_energy + (found.gpu_energy if gpu else 0.0))
                )


def require_meter() -> None:
    """Raise (MissingExtraError) where codecarbon, which measures energy, is not installed."""
    try:
        import codecarbon  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise MissingExtraError("--with energy", extra="energy") from error


@functools.cache
def _tracker() -> Any:
    """The tracker of this process; looks for the hardware's counters once, which takes seconds."""
    from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415 (an extra)

    # Before its own `log_level` holds, it talks.
    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    return OfflineEmissionsTracker(
        tracking_mode="process",
        log_level="error",
        allow_multiple_runs=True,  # one for each worker
        # Nothing is written or sent, whatever a configuration file of codecarbon says; with the
        # carbon given, none is looked up.
        output_methods=[],
        emissions_endpoint=None,
        force_carbon_intensity_g_co2e_kwh=0.0,
    )


def execute(
    jobs: Sequence[Job], *, threads: int = 1, device: str = "cpu", energy: bool = False
) -> list[Outcome]:
    """Run the jobs of one pack, of one method and with tensors of the same shapes; in order.

    A job that fails or does not apply is an outcome with its reason; it never stops the others.
    What cannot be packed stays on the CPU. Jobs that run one by one share joules by their time.
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
    whole, pairs = sum(times), zip(outcomes, times, strict=True)
    return [dataclasses.replace(one, energy=joules * seconds / whole) for one, seconds in pairs]


def _alone(job: Job, method: Method) -> Outcome:
    started = time.perf_counter()
    try:
        if isinstance(method, Fitted):
            scores = method.fit_predict(job.problem, generator(job.seed, "fit"))
            result = Result(np.asarray(scores))
        else:
            result = train_one(cast(Trained, method), job.problem, job.seed)
    except NotApplicableError as error:
        return Outcome(id=job.id, status="not_applicable", reason=str(error))
    except Exception:  # noqa: BLE001
        # Whatever a plugin raises is that trial's failure, kept with its traceback.
        return Outcome(id=job.id, status="failed", reason=traceback.format_exc())
    return _outcome(job, result, time.perf_counter() - started)


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

    MethodError where the scores have another shape or type, are not finite, or lose their order.
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
