"""Run packs by Ray Tune: one Tune trial is one pack, and actors are used again.

Ray only schedules. What is finished goes to the caller at once, who stores it; Tune's own
checkpoints, logs and retries are off. Measured on two cores: 7 s from the import to the first
result, then 0.01 s an empty pack, and 1.4 s to shut down. To be imported inside
`quiet.ray_environment`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler

from clser_bench.errors import ClserError
from clser_bench.run.local import Done, attempt, failures
from clser_bench.run.packs import Pack
from clser_bench.trial import Job, Problem, Value

_STORE_BYTES = 256 * 2**20
"""For problems and predictions on their way; what does not fit goes to the temporary folder."""

_LONGEST = 40
"""Ray puts sockets below its folder, whose whole path may have some 100 characters."""


class _Sent(NamedTuple):
    """A job as it travels: many points of many methods share a problem, which is sent once."""

    id: str
    method: str
    parameters: tuple[tuple[str, Value], ...]
    problem: int
    seed: int


class PackActor(tune.Trainable):  # type: ignore[misc]
    """A worker process: runs one pack after another."""

    def setup(
        self,
        config: Mapping[str, Any],
        packs: Sequence[Sequence[_Sent]] = (),
        problems: Sequence[Any] = (),
    ) -> None:
        """Take the first pack.

        Args:
            config: `pack` is its number.
            packs: all packs.
            problems: references to the problems of their jobs.
        """
        self._packs = packs
        self._problems = problems
        self._known: dict[int, Problem] = {}
        self._number: int = config["pack"]

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next pack, in the same process."""
        self._number = new_config["pack"]
        return True

    def step(self) -> dict[str, Any]:
        """Run the pack; one step is the whole of it."""
        jobs = [
            Job(
                id=sent.id,
                method=sent.method,
                parameters=sent.parameters,
                problem=self._problem(sent.problem),
                seed=sent.seed,
            )
            for sent in self._packs[self._number]
        ]
        return {"outcomes": attempt(jobs), "done": True}

    def _problem(self, number: int) -> Problem:
        if number not in self._known:
            self._known[number] = ray.get(self._problems[number])
        return self._known[number]


class _Relay(tune.Callback):  # type: ignore[misc]
    """Hands each pack's outcomes over in the driver, the moment they arrive."""

    def __init__(self, packs: Sequence[Pack], done: Done) -> None:
        self._packs = packs
        self._done = done
        self.error: ClserError | None = None

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        # Taken out, so that Tune does not keep the predictions of every pack to the end.
        self._hand_over(trial, result.pop("outcomes"))

    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        jobs = self._packs[trial.config["pack"]].jobs
        reason = f"the process that ran this pack died: {trial.get_error()}"
        self._hand_over(trial, failures(jobs, reason))

    def _hand_over(self, trial: Any, outcomes: Sequence[Any]) -> None:
        try:
            self._done(self._packs[trial.config["pack"]], outcomes)
        except ClserError as error:
            self.error = error  # Tune would turn it into an error of its own
            raise


class _InOrder(FIFOScheduler):  # type: ignore[misc]
    """Starts trials in their order.

    Tune's own FIFO hands a free actor to the oldest waiting trial even while that trial's own
    actor is starting, which it then kills: with short packs one worker did all the work.
    """

    def choose_trial_to_run(self, *_: Any, **__: Any) -> None:
        """Leave the choice to the controller: first come, first served."""


def run_packs(packs: Sequence[Pack], *, workers: int, done: Done) -> None:
    """Run packs in worker processes and hand over what came of each as soon as it arrives.

    Args:
        packs: in the order in which they are started.
        workers: processes, each with one core.
        done: called in this process after each pack.

    Raises:
        ClserError: as `done` raised it.
    """
    relay = _Relay(packs, done)
    with _silence(), _folder() as folder, _ray(workers, folder):
        sent, problems = _parted(packs)
        references = [ray.put(problem) for problem in problems]
        try:
            tune.run(
                tune.with_parameters(PackActor, packs=sent, problems=references),
                name="packs",
                config={"pack": tune.grid_search(list(range(len(packs))))},
                resources_per_trial={"cpu": 1},
                max_concurrent_trials=workers,
                scheduler=_InOrder(),
                callbacks=[relay],
                reuse_actors=True,
                raise_on_failed_trial=False,
                storage_path=folder,
                verbose=0,
            )
        except TuneError:
            if relay.error is not None:
                raise relay.error from None
            raise


def _parted(packs: Sequence[Pack]) -> tuple[list[list[_Sent]], list[Problem]]:
    """Jobs without their problems, and each problem once."""
    numbers: dict[int, int] = {}
    problems: list[Problem] = []
    sent = []
    for pack in packs:
        members = []
        for job in pack.jobs:
            if id(job.problem) not in numbers:
                numbers[id(job.problem)] = len(problems)
                problems.append(job.problem)
            number = numbers[id(job.problem)]
            members.append(_Sent(job.id, job.method, job.parameters, number, job.seed))
        sent.append(members)
    return sent, problems


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep Ray's warnings, and its notices that it prints to stdout, out of the table."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A folder for Ray's logs, sockets and results, removed afterwards."""
    base = tempfile.gettempdir()
    place = base if len(base) <= _LONGEST else "/tmp"  # noqa: S108 (a private folder is made in it)
    with tempfile.TemporaryDirectory(
        prefix="clser-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield folder


@contextlib.contextmanager
def _ray(workers: int, folder: str) -> Iterator[None]:
    """Ray on this machine alone, reachable from this machine alone."""
    handler = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local",
        num_cpus=workers,
        num_gpus=0,
        object_store_memory=_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.CRITICAL,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray has put its own in its place
    try:
        yield
    finally:
        ray.shutdown()
