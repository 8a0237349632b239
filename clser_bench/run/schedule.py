"""Ray Tune, from the side of the process that holds the answers.

Ray runs in a child (`clser_bench.run.tune`), which asks this process what a configuration is to
run, hands over what came of each pack, and gets the score: no answer and no results file is in a
process that Ray knows. Ray ends the process that it runs in when one of its own dies; here that is
one line, and the same command goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from clser_bench import __version__, registry
from clser_bench.cleanup import temporary_folder
from clser_bench.errors import ClserError, SpecError
from clser_bench.problem import Job, Problem, Value
from clser_bench.run.process import ChildProcess
from clser_bench.run.request import Request
from clser_bench.run.worker import NOTICE, ONE_THREAD, Means
from clser_bench.train import ENGINE_VERSION

if TYPE_CHECKING:
    from clser_bench.run.space import Search

VERSIONS = (__version__, ENGINE_VERSION)

_ENVIRONMENT = {
    # silent
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "1000000",
    # no files of a trial, no checkpoint of Tune's own; scores are added where they are known
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    # one Ray a child, never another that is joined or started behind its back
    "RAY_ENABLE_AUTO_CONNECT": "0",
    # a run on this machine does not wait a minute for a part of Ray that is dead
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}


class Sent(NamedTuple):
    """A job as it travels: many jobs share a problem, which is sent once."""

    id: str
    method: str
    parameters: tuple[tuple[str, Value], ...]
    problem: int
    seed: int


class Block(NamedTuple):
    """What a trial of Ray Tune does in one step."""

    draws: int  # how many draws of its configuration are run by then
    packs: tuple[tuple[Sent, ...], ...]  # jobs that are run together


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What the child is started for."""

    slots: int  # packs at once; 0 for as many as a cluster has room for
    address: str  # of a Ray cluster to join; empty to start Ray on this machine
    gpus: float  # share of a GPU for each pack
    means: Means
    problems: Sequence[Problem]  # that jobs name by number
    folder: str = ""  # for Ray's files
    packs: Sequence[tuple[Sent, ...]] = ()  # of a run
    search: Search | None = None  # of a sweep, whose jobs follow with each configuration
    draws: int = 1  # of a configuration that is run to the end
    versions: tuple[str, int] = VERSIONS  # of the code that asks


@dataclass(eq=False)
class Numbered:
    """Problems by number, each once."""

    problems: list[Problem] = field(default_factory=list)
    _numbers: dict[int, int] = field(default_factory=dict)

    def sent(self, jobs: Sequence[Job]) -> tuple[Sent, ...]:
        """Jobs with numbers in place of their problems."""
        for job in jobs:
            if id(job.problem) not in self._numbers:
                self._numbers[id(job.problem)] = len(self.problems)
                self.problems.append(job.problem)
        return tuple(
            Sent(job.id, job.method, job.parameters, self._numbers[id(job.problem)], job.seed)
            for job in jobs
        )


def task(request: Request, count: int, *, problems: Sequence[Problem], **more: Any) -> Task:
    """What the child is started for, with the means of a request."""
    more |= {"address": request.ray_address, "gpus": request.gpus_per_pack}
    return Task(slots=request.slots(count), means=request.means, problems=problems, **more)


@contextlib.contextmanager
def ray_tune(task: Task) -> Iterator[RayTune]:
    """Ray while packs run."""
    if task.address:
        _check(task.address)
    # Tune may have twice as many trials waiting as run, so that it never delays a start.
    own = {"TUNE_MAX_PENDING_TRIALS_PG": str(2 * max(1, task.slots))}
    # Without a token in the environment, Ray writes one into the user's home.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    variables = {**_ENVIRONMENT, **ONE_THREAD, **own, **({} if task.address else token)}
    with (
        temporary_folder(short=True) as folder,
        contextlib.closing(
            ChildProcess("clser_bench.run.tune", environment=variables, grace=15.0)
        ) as child,
    ):
        yield RayTune(child, dataclasses.replace(task, folder=str(folder)))


def nobody(address: str, why: str) -> str:
    """That no cluster is there."""
    return (
        f"--ray-address {address}: no Ray cluster can be joined there ({why}); start one with `ray "
        "start --head`, or leave the option out"
    )


def _check(address: str) -> None:
    """Refuse (SpecError) an address where nobody listens: Ray itself would wait for minutes."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "/" in address or not colon or not host or not port.isdecimal():
        raise SpecError(
            f"--ray-address {address}: write HOST:PORT of the head (`ray start` prints it), or "
            "auto; the command must run on a node of the cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise SpecError(nobody(address, str(error))) from error


@contextlib.contextmanager
def _as_ray_error() -> Iterator[None]:
    """Say that Ray has ended."""
    try:
        yield
    except EOFError as error:
        raise ClserError(
            f"Ray died ({error}): the same command goes on where it stopped; --scheduler local "
            "needs no Ray"
        ) from None


class RayTune:
    """Messages with the child, which begins with the task."""

    def __init__(self, child: ChildProcess, task: Task) -> None:
        self._child = child
        with _as_ray_error():
            child.send((registry.places(), task))

    def messages(self, slow: Callable[[int, float], None]) -> Iterator[tuple[str, Any, Any]]:
        """What happens, until all is done; `slow` is called once with what runs for long.

        Yields:
            `outcomes`, the number of a pack or a configuration and a list of outcomes for each of
            its packs, to which `reply` gives the score; `configure`, None and hyper-parameters, to
            which it gives a number and blocks, or None; `failed`, a number and the reason.

        Raises:
            SpecError: the cluster is not there, or has not what packs need.
            ClserError: Ray did not start, or it died.
        """
        begun: dict[int, float] = {}
        while True:
            with _as_ray_error():
                message = self._child.next(timeout=30.0)
            if message is None:
                now = time.monotonic()
                for number in [n for n, since in begun.items() if now - since > NOTICE]:
                    slow(number, now - begun.pop(number))
                continue
            what, number, content = message
            if what == "begun":
                begun[number] = time.monotonic()
            elif what == "refused":
                raise (SpecError if number else ClserError)(content)
            elif what == "end":
                return
            else:
                begun.pop(number, None)
                yield what, number, content

    def reply(self, answer: object) -> None:
        """Answer the message that was yielded last."""
        with contextlib.suppress(EOFError):  # the next message says that the child has ended
            self._child.send(answer)
