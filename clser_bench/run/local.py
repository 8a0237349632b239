"""Run packs in this process, one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from clser_bench.problem import Job, Outcome
from clser_bench.run.packs import Pack

Done = Callable[[Pack, Sequence[Outcome]], None]
"""What is told of each finished pack."""


def run_packs(
    packs: Sequence[Pack], *, done: Done, device: str = "cpu", energy: bool = False
) -> None:
    """Run packs and hand over what came of each as soon as it is finished.

    Args:
        packs: in the order in which they are run.
        done: called in this process after each pack.
        device: what packs train on.
        energy: measure joules.
    """
    for pack in packs:
        done(pack, attempt(pack.jobs, device=device, energy=energy))


def attempt(jobs: Sequence[Job], *, device: str = "cpu", energy: bool = False) -> list[Outcome]:
    """Run the jobs of a pack on one core; whatever goes wrong is an outcome.

    Args:
        jobs: of one pack.
        device: what it trains on.
        energy: measure joules.

    Returns:
        One outcome a job, in order.
    """
    from clser_bench.train.execute import execute  # noqa: PLC0415 (torch: only when needed)

    try:
        return execute(jobs, threads=1, device=device, energy=energy)
    except Exception:  # noqa: BLE001
        # The engine keeps a job's failure to that job. What escapes it must not stop the other
        # packs either: it is stored with its traceback, and the command exits with 1.
        return failures(jobs, traceback.format_exc())


def failures(jobs: Sequence[Job], reason: str) -> list[Outcome]:
    """The outcomes of a pack that failed as a whole."""
    return [Outcome(id=job.id, status="failed", reason=reason) for job in jobs]
