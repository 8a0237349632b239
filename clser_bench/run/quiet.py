"""The environment in which Ray is imported and started: silent, private, one thread a worker.

Here rather than beside the rest of Ray, because Ray reads some of it when it is imported.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
from collections.abc import Iterator, Mapping

_SILENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "1000000",
}

_OURS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}
"""No files of a trial, no checkpoint of Tune's own, and Ctrl-C reaches us."""

_LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in _LIBRARIES}


@contextlib.contextmanager
def ray_environment(workers: int, *, joins: bool = False) -> Iterator[None]:
    """Set what Ray and its workers read from the environment, and put all back afterwards.

    Args:
        workers: processes that will run.
        joins: whether a cluster is joined, which has a token of its own or none.
    """
    # Tune may have twice as many trials waiting as run, so that it never delays a start.
    own = {"TUNE_MAX_PENDING_TRIALS_PG": str(2 * workers)}
    # Without a token in the environment, Ray writes one into the user's home.
    private = {} if joins else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}
    with _variables({**_SILENT, **_OURS, **ONE_THREAD, **own, **private}):
        yield


@functools.cache
def _token() -> str:
    """One token a process: Ray keeps the first that it reads, and refuses any other."""
    return os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
