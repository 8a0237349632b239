"""Ray started on this machine alone, or a cluster joined that runs already."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator

import ray

from clser_bench.errors import SpecError
from clser_bench.run.quiet import ONE_THREAD
from clser_bench.run.where import Where

_STORE_BYTES = 256 * 2**20
"""For problems and predictions on their way; what does not fit goes to the temporary folder."""

_PATIENCE = 10
"""Seconds to wait for the head of a cluster."""

_LONGEST = 40
"""Ray puts sockets below its folder, whose whole path may have some 100 characters."""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep Ray's warnings, and its notices that it prints to stdout, out of the table."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A folder for Ray's logs, sockets and results, removed afterwards."""
    base = tempfile.gettempdir()
    place = base if len(base) <= _LONGEST else "/tmp"  # noqa: S108 (a private folder is made in it)
    with tempfile.TemporaryDirectory(
        prefix="clser-", dir=place, ignore_cleanup_errors=True
    ) as made:
        yield made


@contextlib.contextmanager
def session(where: Where, place: str) -> Iterator[int]:
    """Ray while packs run.

    Args:
        where: this machine, or a cluster.
        place: a folder of this machine for Ray's files.

    Yields:
        How many packs can run at once.

    Raises:
        SpecError: the cluster is not there, or it has not what packs need.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if where.address:
        _join(where)
    else:
        _start(where, place)
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own in its place
    try:
        yield _slots(where)
    finally:
        ray.shutdown()


def _start(where: Where, place: str) -> None:
    """Ray on this machine alone, reachable from this machine alone."""
    ray.init(
        address="local",
        num_cpus=where.workers,
        num_gpus=None if where.gpus else 0,
        object_store_memory=_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
        _temp_dir=place,
    )


def _check(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would wait for minutes.

    Raises:
        SpecError: it is none, or cannot be reached.
    """
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "/" in address or not colon or not host or not port.isdecimal():
        raise SpecError(
            f"--ray-address {address}: write HOST:PORT of the head (`ray start` prints it), or "
            "auto; the command must run on a node of the cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise SpecError(_nobody(address, str(error))) from error


def _nobody(address: str, why: str) -> str:
    return (
        f"--ray-address {address}: no Ray cluster can be joined there ({why}); start one with `ray "
        "start --head`, or leave the option out"
    )


def _join(where: Where) -> None:
    _check(where.address)
    methods = os.environ.get("CLSER_METHODS")
    try:
        ray.init(
            address=where.address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            # what a worker of our own would have inherited
            runtime_env={
                "env_vars": {**ONE_THREAD, **({"CLSER_METHODS": methods} if methods else {})}
            },
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SpecError(_nobody(where.address, line)) from error


def _slots(where: Where) -> int:
    """Packs that the resources hold at once, and no more than were asked for."""
    has = ray.cluster_resources()
    slots = int(has.get("CPU", 0))
    if where.gpus:
        slots = min(slots, int(has.get("GPU", 0) / where.gpus + 1e-9))
    if slots < 1:
        raise SpecError(
            f"a pack needs a core and {where.gpus:g} GPU, and Ray has {has.get('CPU', 0):g} cores "
            f"and {has.get('GPU', 0):g} GPUs; lower --gpus-per-pack or add nodes"
        )
    return min(slots, where.workers) if where.workers else slots
