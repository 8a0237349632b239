"""Tasks spread over processes, with a clean end whoever stops first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from clser_bench.errors import FeatureError
from clser_bench.files import cores

T = TypeVar("T")
R = TypeVar("R")


class WorkerDiedError(FeatureError):
    """A worker process died while it worked on a task."""


def run_tasks(
    function: Callable[[T], R], tasks: Sequence[T], *, workers: int | None, apart: bool = False
) -> Iterator[R]:
    """Run a function on each task, in processes where that pays; results as tasks finish.

    When the caller stops (an error, Ctrl-C, leaving the loop), tasks that have begun are ended
    in order and no other is begun. When this process is killed, the workers end by themselves.

    Args:
        function: of one task; importable by name.
        workers: processes; None for one per core that this process may use; with 1, or for one
            task, everything runs in this process.
        apart: never in this process: the function may kill the one that runs it.

    Raises:
        WorkerDiedError: a worker process died.
    """
    count = min(cores() if workers is None else workers, len(tasks))
    if count < 2 and not (apart and tasks):
        yield from map(function, tasks)
        return
    # Spawn: a fork after torch has started its threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max(count, 1), mp_context=context, initializer=_begin)
    try:
        waiting = {pool.submit(function, task) for task in tasks}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise WorkerDiedError(
            "a worker process died unexpectedly: out of memory, or killed, or started from a "
            "script without `if __name__ == '__main__':`; run again with fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """Prepare a worker: Ctrl-C is the parent's to handle, and without the parent it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """End this process when its parent is gone."""
    connection.wait([sentinel])
    os._exit(1)
