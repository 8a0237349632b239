"""Ray Tune, in a process of its own; the only module that imports ray.

    python -m clser_bench.run.tune        (started by `schedule.ray_tune`, never by hand)

In a run a trial of Tune is a pack; in a sweep it is one configuration, and a step trains its next
block of draws. The searcher asks the driver what a configuration is to run, which leaves out what
is stored; a scheduler asks it for the score of a step before it decides. Ray only schedules: Tune's
checkpoints and logs are off. On a cluster a pack whose node dies runs again elsewhere; the same
pack gives the same bytes. Measured on two cores: 7 s from the import to the first result, then
0.01 s an empty pack, and 1.4 s to shut down.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import math
import os
import pickle
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clser_bench import registry
from clser_bench.problem import Job, Problem, Reordered, Table
from clser_bench.run.process import channel, receive, send
from clser_bench.run.schedule import VERSIONS, Block, Sent, Task, nobody
from clser_bench.run.space import TRIES, Search, sampler
from clser_bench.run.worker import ONE_THREAD, Means, Worker
from clser_bench.sweeps import distributions

METRIC = "uar"
"""The score that the driver gives; of a sweep, the mean objective over draws and pairs."""

DRAWS = "draws"

_RETRIES = 3
"""How often a pack begins again when its node or its actor dies: no fault of a method."""

_EMPTY = Table("", np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32))


def main() -> None:
    """Run what the driver asks for."""
    with channel() as (source, sink):
        try:
            asked = receive(source)
        except EOFError:  # the driver was killed before it had asked
            return
        environment, task = pickle.loads(asked)  # noqa: S301 (of our own process)
        os.environ.update(environment)
        driver = _Driver(source, sink)
        driver.watch()
        warnings.simplefilter("ignore")
        last: tuple[Any, ...] = ("end",)
        try:
            with _room(), session(task) as slots:
                _fit(task, driver, slots)
        except RefusedError as error:
            last = ("refused", error.theirs, str(error))
        # The driver closes the pipe once it has read this; Ray's handler would print a traceback
        # while Ray clears away.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        driver.say(*last)


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """A full disk is refused: Ray writes into the temporary folder."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        why = f"{tempfile.gettempdir()}: the disk is full; make room, or set TMPDIR to another disk"
        raise RefusedError(why, theirs=False) from error


class _Driver:
    """The process that asked, which holds the answers."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source, self._sink = source, sink

    def __reduce__(self) -> tuple[Any, ...]:
        """Tuner writes a copy of itself to disk, which nobody reads."""
        return object, ()

    def say(self, what: str, number: int | None = None, content: object = None) -> None:
        """Send something that needs no answer."""
        try:
            send(self._sink, pickle.dumps((what, number, content)))
        except OSError:  # it was killed: end as `watch` would a moment later
            sys.exit(1)

    def ask(self, what: str, number: int | None, content: object) -> Any:
        """Send something and wait for the answer."""
        self.say(what, number, content)
        try:
            return pickle.loads(receive(self._source))  # noqa: S301 (of our own process)
        except (EOFError, OSError):
            sys.exit(1)

    def watch(self) -> None:
        """End this process in order when the driver ends, however that happens."""

        def wait() -> None:
            poll = select.poll()
            poll.register(self._source, 0)  # only that it is closed
            poll.poll()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


_STORE_BYTES = 256 * 2**20
"""For problems and predictions on their way; what does not fit goes to the temporary folder."""


class RefusedError(Exception):
    """Ray cannot do what was asked: in words, and whether the request is wrong, and not Ray."""

    def __init__(self, message: str, *, theirs: bool) -> None:
        super().__init__(message)
        self.theirs = theirs


@contextlib.contextmanager
def session(task: Task) -> Iterator[int]:
    """Ray while packs run, on this machine alone or on the cluster of the task.

    Yields how many packs can run at once. RefusedError where Ray did not start, the cluster is not
    there, or it has not what packs need.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if task.address:
            methods = {name: value for name, value in registry.places().items() if value}
            # what a worker of our own would have inherited
            variables = {"env_vars": {**ONE_THREAD, **methods}}
            ray.init(address=task.address, runtime_env=variables, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=task.slots,
                num_gpus=None if task.gpus else 0,
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",  # reachable from this machine alone
                _temp_dir=task.folder,
                **quiet,
            )
    except Exception as error:
        # Of many kinds, whatever Ray met; the remedy is the same.
        if task.address:
            raise RefusedError(nobody(task.address, _one_line(error)), theirs=True) from error
        raise RefusedError(
            f"Ray did not start: {_one_line(error)}; run the command again, or take "
            "--scheduler local, which needs no Ray",
            theirs=False,
        ) from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # Ray has put its own in its place
    try:
        yield _slots(task)
    finally:
        ray.shutdown()


def _one_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


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


class Cargo(NamedTuple):
    """What workers are given."""

    packs: Sequence[tuple[Sent, ...]]  # jobs of each pack of a run
    # references to problems, each with the keys and the numbers of the orders of its tables
    # where these are shipped; it has no features then
    problems: Sequence[Any]
    tables: Mapping[str, Any]  # references to (instants, summary) by key


def load(task: Task) -> Cargo:
    """Put what packs need where workers find it.

    On this machine, and on nodes that see the cache folder under the same path, a feature table is
    opened where it lies. Where a node does not, all tables go through Ray's object store, which
    keeps one copy a node and maps it into every worker.
    """
    sides = [[cast(Reordered, side) for side in (p.source, p.target)] for p in task.problems]
    stored = {side.stored.key: side.stored for both in sides for side in both}
    if not task.address or _everywhere([table.folder for table in stored.values()]):
        return Cargo(task.packs, [ray.put((problem, ())) for problem in task.problems], {})
    problems = [
        (
            dataclasses.replace(problem, source=_EMPTY, target=_EMPTY),
            [(side.stored.key, side.seed) for side in both],
        )
        for problem, both in zip(task.problems, sides, strict=True)
    ]
    tables = {
        key: ray.put((np.asarray(table.instants), np.asarray(table.summary)))
        for key, table in stored.items()
    }
    return Cargo(task.packs, list(map(ray.put, problems)), tables)


def _everywhere(folders: Sequence[Path | None]) -> bool:
    """Whether every node sees these folders; False where a table has none."""
    named = [folder for folder in folders if folder is not None]
    if len(named) < len(folders):
        return False

    def sees(folders: Sequence[Path]) -> bool:
        return all((folder / "summary.npy").is_file() for folder in folders)

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    asked = [
        ray.remote(sees)
        .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        .remote(named)
        for node in nodes
    ]
    return all(ray.get(asked))


class PackActor(tune.Trainable):  # type: ignore[misc]
    """An actor that hands packs to a worker process of its own, one after another.

    Methods run in forks of that process, not in this one, so none of them is connected to Ray.
    """

    def setup(
        self,
        config: Mapping[str, Any],
        cargo: Any = None,  # a `Cargo`
        means: Means | None = None,
        versions: tuple[str, int] = VERSIONS,
    ) -> None:
        """Take the first trial: the `pack` of that number, or the `blocks` of a sweep."""
        if versions != VERSIONS:
            node = ray.util.get_node_ip_address()
            raise RuntimeError(
                f"node {node} has clser-bench {VERSIONS[0]} with engine {VERSIONS[1]}, and the "
                f"run is of {versions[0]} with engine {versions[1]}: install the same on all nodes"
            )
        self._cargo, self._means, self._worker = cargo, means, Worker()
        self._problems: dict[int, Problem] = {}
        self._tables: dict[str, Table] = {}
        self.reset_config(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Take the next trial, in the same process."""
        self._blocks: Sequence[Block] = new_config.get("blocks") or [
            Block(1, (self._cargo.packs[new_config["pack"]],))
        ]
        self._next = 0
        return True

    def step(self) -> dict[str, Any]:
        """Run the next block: the pack of a run, the next draws of a configuration."""
        block = self._blocks[self._next]
        self._next += 1
        outcomes = [self._worker.run(self._jobs(pack), self._means) for pack in block.packs]
        return {"outcomes": outcomes, DRAWS: block.draws, "last": self._next == len(self._blocks)}

    def cleanup(self) -> None:
        """End the worker process."""
        self._worker.close()

    def _jobs(self, pack: Sequence[Sent]) -> list[Job]:
        return [Job(**{**sent._asdict(), "problem": self._problem(sent.problem)}) for sent in pack]

    def _problem(self, number: int) -> Problem:
        if number not in self._problems:
            problem, shipped = ray.get(self._cargo.problems[number])
            for key, _ in shipped:
                if key not in self._tables:
                    self._tables[key] = Table(key, *ray.get(self._cargo.tables[key]))
            if shipped:
                source, target = (self._tables[key].in_order(seed) for key, seed in shipped)
                problem = dataclasses.replace(problem, source=source, target=target)
            self._problems[number] = problem
        return self._problems[number]


class _Scored:
    """A scheduler that asks the driver for the score of a step, and decides by it."""

    driver: _Driver
    scores: dict[str, float]  # by Tune's name of the trial

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Add the score to a result, and say whether the trial goes on."""
        number = _number(trial)
        score = self.driver.ask("outcomes", number, result["outcomes"])
        self.scores[trial.trial_id] = result[METRIC] = score
        decision: str = super().on_trial_result(controller, trial, result)  # type: ignore[misc]
        if result["last"] or math.isnan(score):
            return str(TrialScheduler.STOP)
        # the default configuration is what others are compared with: it runs to the end
        return str(TrialScheduler.CONTINUE) if number == 0 else decision

    def choose_trial_to_run(self, *_: Any, **__: Any) -> None:
        """Leave the choice to the controller: first come, first served.

        Tune's own FIFO hands a free actor to the oldest waiting trial even while that trial's own
        actor is starting, which it then kills: with short packs one worker did all the work.
        """


class _InOrder(_Scored, FIFOScheduler):  # type: ignore[misc]
    """Starts trials in their order."""


class _Halving(_Scored, ASHAScheduler):  # type: ignore[misc]
    """Asynchronous successive halving over draws."""


class _Reports(tune.Callback):  # type: ignore[misc]
    """Tells the driver what begins, and puts scores into Tune's results in place of outcomes."""

    def __init__(self, driver: _Driver, scores: Mapping[str, float]) -> None:
        self._driver, self._scores = driver, scores

    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        self._driver.say("begun", _number(trial))

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **_: Any) -> None:
        # Taken out, so that Tune does not keep the scores of every utterance to the end.
        result.pop("outcomes")
        result[METRIC] = self._scores[trial.trial_id]


def _number(trial: Any) -> int:
    return int(trial.config["pack"])


class _Configurations(OptunaSearch):  # type: ignore[misc]
    """Optuna's samplers, which propose configurations; the driver adds what is to run of each.

    The default configuration comes first, and none comes twice.
    """

    def __init__(self, search: Search, driver: _Driver) -> None:
        super().__init__(
            distributions(search.dimensions), metric=METRIC, mode="max", sampler=sampler(search)
        )
        self._driver = driver
        self._left = search.samples
        self._asked: dict[str, str] = {}
        self._begun = False

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next configuration, with the blocks of jobs that are not stored."""
        if not self._begun:
            self._begun = True
            number, blocks = self._driver.ask("configure", None, None)
            return {"pack": number, "blocks": blocks}
        for attempt in range(TRIES if self._left else 0):
            name = f"{trial_id}-{attempt}"
            answer = self._driver.ask("configure", None, super().suggest(name))
            if answer is not None:
                self._left -= 1
                self._asked[trial_id] = name
                return {"pack": answer[0], "blocks": answer[1]}
            super().on_trial_complete(name, error=True)
        return str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._asked:
            super().on_trial_result(self._asked[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id in self._asked:
            failed = error or not result or math.isnan(result.get(METRIC, math.nan))
            name = self._asked[trial_id]
            super().on_trial_complete(name, None if failed else result, error=failed)


def _fit(task: Task, driver: _Driver, slots: int) -> None:
    """Run a task by Tune."""
    scheduler: Any = _InOrder()
    search: Any = None
    space: dict[str, Any] = {}
    if task.search is None:
        space = {"pack": tune.grid_search(list(range(len(task.packs))))}
    else:
        asked = task.search
        search = _Configurations(asked, driver)
        if asked.sampler == "tpe":  # learns from whole populations: the same whoever is faster
            search = ConcurrencyLimiter(search, max_concurrent=asked.population, batch=True)
        if asked.halving:
            scheduler = _Halving(
                time_attr=DRAWS,
                metric=METRIC,
                mode="max",
                max_t=task.draws,
                grace_period=asked.rungs(task.draws)[0],
                reduction_factor=asked.halving,
            )
    scheduler.driver, scheduler.scores = driver, {}
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(
                PackActor, cargo=load(task), means=task.means, versions=task.versions
            ),
            {"cpu": 1, "gpu": task.gpus},
        ),
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=1 if task.search is None else task.search.samples + 1,
            max_concurrent_trials=slots if task.search is None else None,
            search_alg=search,
            scheduler=scheduler,
            reuse_actors=True,
            trial_name_creator=lambda trial: str(trial.trial_id),
            **({} if task.search else {"metric": METRIC, "mode": "max"}),
        ),
        run_config=tune.RunConfig(
            name="packs",
            storage_path=task.folder,
            callbacks=[_Reports(driver, scheduler.scores)],
            failure_config=tune.FailureConfig(max_failures=_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    try:
        grid = tuner.fit()
    except TuneError as error:
        raise RefusedError(f"Ray Tune stopped: {_one_line(error)}", theirs=False) from error
    for result in grid:
        if result.error is not None and result.config is not None:
            reason = f"the process that ran this pack died {_RETRIES + 1} times: {result.error}"
            driver.ask("failed", result.config["pack"], reason)


if __name__ == "__main__":
    # under its own name: Ray copies what is defined in `__main__` into every message
    from clser_bench.run import tune as own  # noqa: PLW0406

    own.main()
