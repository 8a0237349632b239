"""Ray on this machine or a cluster, started and ended for one command; in the process of `tune`."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import NoReturn

import ray

from clser_bench import registry
from clser_bench.run.schedule import Task, nobody
from clser_bench.run.worker import ONE_THREAD

_STORE_BYTES = 256 * 2**20
"""For problems and predictions on their way; what does not fit goes to the temporary folder."""


class RefusedError(Exception):
    """Ray cannot do what was asked.

    Args:
        message: in words.
        theirs: whether the request is wrong, and not Ray.
    """

    def __init__(self, message: str, *, theirs: bool) -> None:
        super().__init__(message)
        self.theirs = theirs


@contextlib.contextmanager
def session(task: Task) -> Iterator[int]:
    """Ray while packs run.

    Yields:
        How many packs can run at once.

    Raises:
        RefusedError: Ray did not start, the cluster is not there, or it has not what packs need.
    """
    if task.address:
        _join(task.address)
    else:
        _start(task)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _ended)  # Ray has put its own in its place
    try:
        yield _slots(task)
    finally:
        ray.shutdown()


def _start(task: Task) -> None:
    """Ray on this machine alone, reachable from this machine alone."""
    try:
        ray.init(
            address="local",
            num_cpus=task.slots,
            num_gpus=None if task.gpus else 0,
            object_store_memory=_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _node_ip_address="127.0.0.1",
            _temp_dir=task.folder,
        )
    except Exception as error:
        # Of many kinds, whatever Ray met; the remedy is the same.
        raise RefusedError(
            f"Ray did not start: {one_line(error)}; run the command again, or take "
            "--scheduler local, which needs no Ray",
            theirs=False,
        ) from error


def one_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _join(address: str) -> None:
    methods = {name: value for name, value in registry.places().items() if value}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            # what a worker of our own would have inherited
            runtime_env={"env_vars": {**ONE_THREAD, **methods}},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RefusedError(nobody(address, one_line(error)), theirs=True) from error


def _slots(task: Task) -> int:
    """Packs that the resources hold at once, and no more than were asked for."""
    has = ray.cluster_resources()
    slots = int(has.get("CPU", 0))
    if task.gpus:
        slots = min(slots, int(has.get("GPU", 0) / task.gpus + 1e-9))
    if slots < 1:
        raise RefusedError(
            f"a pack needs a core and {task.gpus:g} GPU, and Ray has {has.get('CPU', 0):g} cores "
            f"and {has.get('GPU', 0):g} GPUs; lower --gpus-per-pack or add nodes",
            theirs=True,
        )
    return min(slots, task.slots) if task.slots else slots


def _ended(*_: object) -> NoReturn:
    raise SystemExit(1)
