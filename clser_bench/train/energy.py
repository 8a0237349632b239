"""Joules of a block of this process, where codecarbon (extra `energy`) is there to tell them.

What counts are the processors: the CPU, and the GPU where the block trains on one. Memory is left
out: codecarbon gives each process at least 10 W for it, however little it holds.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clser_bench.errors import MissingExtraError

_JOULES = 3.6e6
"""Of a kilowatt-hour."""


@dataclass
class Used:
    """What a block used."""

    joules: float | None = None  # known when the block is over; None where nothing was measured


@contextlib.contextmanager
def metered(wanted: bool, *, gpu: bool = False) -> Iterator[Used]:
    """Measure what a block uses; blocks of one process follow each other, none inside another.

    Args:
        wanted: measure; else the block just runs.
        gpu: the block trains on a GPU, so that what GPUs use counts.

    Yields:
        Holds the joules once the block is over.
    """
    used = Used()
    running = wanted and _start()
    try:
        yield used
    finally:
        if running:
            used.joules = _stop(gpu)


def require() -> None:
    """Check that energy can be measured here.

    Raises:
        MissingExtraError: codecarbon is not installed.
    """
    try:
        import codecarbon  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise MissingExtraError("--with energy", extra="energy") from error


def _start() -> bool:
    try:
        _tracker().start_task()
    except Exception:  # noqa: BLE001
        # A node without codecarbon, or a counter that may not be read, must not cost a trial.
        return False
    return True


def _stop(gpu: bool) -> float | None:
    try:
        found = _tracker().stop_task()
        return float(_JOULES * (found.cpu_energy + (found.gpu_energy if gpu else 0.0)))
    except Exception:  # noqa: BLE001
        # As above: the trial is well without its joules.
        return None


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
