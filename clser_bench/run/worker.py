"""The process that runs methods: a clean interpreter that forks for every pack.

    driver or Ray actor  →  worker (torch and the built-in methods imported)  →  a fork a pack

The worker knows no answers: it was started anew, not forked from the driver. A fork ends with its
pack, so nothing that a method leaves in memory reaches another pack, and a method that exits, dies
by a signal or does not end costs its own trials alone. It is given features without keys, folders
and file names, an environment without ours, and a temporary folder that is removed with it; where
the kernel has Landlock it can read and write nothing else (`run.process`). Packs of a method that
is not of this package hold one pair (`run.plan`), and it is imported in each fork again. What a
fork sends back is JSON and raw arrays, since unpickling executes code.

    python -m clser_bench.run.worker        (started by `Worker`, never by hand)
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import importlib
import json
import os
import pickle
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from clser_bench import registry
from clser_bench.cleanup import end_with_parent, remove_leftovers, temporary_folder
from clser_bench.errors import ClserError, FeatureError, SpecError, WorkerError
from clser_bench.problem import ARRAYS, Job, Outcome, Reordered, Value, open_table
from clser_bench.run.process import (
    ChildProcess,
    channel,
    confine,
    confinement,
    exit_in_words,
    pack_outcomes,
    receive,
    send,
    unpack_outcomes,
)

PATIENCE = 3600.0
"""Seconds that a trial may take: the slowest method takes minutes on one core."""

NOTICE = 300.0
"""Seconds after which a line names what is still running."""

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
"""A worker has one core; it reads these when it starts."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """What packs are run with."""

    device: str = "cpu"  # what they train on
    energy: bool = False  # whether joules are measured
    patience: float = PATIENCE  # seconds that a trial may take


class Worker:
    """A worker process, from the side of the process that starts it.

    It starts when it is first asked, and anew where it ended or was interrupted.
    """

    def __init__(self) -> None:
        self._child: ChildProcess | None = None
        self._lock = threading.Lock()  # two threads may run at once; a pipe has one order

    def close(self) -> None:
        """End the process and whatever it is running."""
        if self._child is not None:
            self._child.close()
        self._child = None

    def run(
        self,
        jobs: Sequence[Job],
        means: Means | None = None,
        *,
        slow: Callable[[float], None] | None = None,
    ) -> list[Outcome]:
        """One outcome a job, in order; whatever goes wrong with a method is an outcome.

        WorkerError where the worker itself ended, which is no fault of a method.
        """
        outcomes: list[Outcome] = self._ask(("run", tuple(jobs), means or Means()), slow=slow)
        return outcomes

    def describe(self, methods: Sequence[tuple[str, Mapping[str, Value]]]) -> list[dict[str, Any]]:
        """What methods declare, with some hyper-parameters set; SpecError for a wrong one."""
        found: list[dict[str, Any]] | str = self._ask(("describe", tuple(methods), Means()))
        if isinstance(found, str):
            raise SpecError(found)
        return found

    def _ask(self, message: object, *, slow: Callable[[float], None] | None = None) -> Any:
        with self._lock:
            if self._child is None:
                self._child = ChildProcess(__name__, environment=ONE_THREAD, grace=5.0)
            try:
                self._child.send((registry.places(), message))
                if slow and (answer := self._child.next(timeout=NOTICE)) is not None:
                    return answer
                if slow:
                    slow(NOTICE)
                return self._child.next()
            except EOFError as error:
                self.close()
                raise WorkerError(
                    f"a worker process ended ({error}); the same command goes on where it stopped"
                ) from error
            except BaseException:
                self.close()  # its answer would be taken for that of the next question
                raise


@functools.cache
def own_worker() -> Worker:
    """The worker of this process, which ends with it."""
    worker = Worker()
    atexit.register(worker.close)
    return worker


def failures(jobs: Sequence[Job], reason: str) -> list[Outcome]:
    """Outcomes of jobs that failed for one reason."""
    return [Outcome(id=job.id, status="failed", reason=reason) for job in jobs]


def describe(name: str, settings: Mapping[str, Value]) -> dict[str, Any]:
    """What planning must know of a method; imports its file. SpecError as for `registry.create`."""
    from clser_bench.train import ENGINE_VERSION  # noqa: PLC0415 (beside torch)

    method = registry.create(name, settings)
    entry = registry.entry(name)
    trained = method.kind == "trained"
    others = method.points(entry.overrides, fixed=settings)[1:] if method.role == "ranked" else ()
    facts = ("kind", "deterministic", "assumes_prior", "role", "note", "title", "uses")
    return {
        "name": name,
        "version": entry.version,
        "parameters": method.parameters(),
        **{fact: getattr(method, fact) for fact in facts},
        "engine_version": ENGINE_VERSION if trained else 0,
        "packable": trained and method.packable,
        "instants": method.inputs_instants,
        "configurations": tuple(tuple(sorted(values.items())) for values in others),
        "ranges": {key: dataclasses.asdict(span) for key, span in method.ranges().items()},
        "grid": method.grid(),
        "spaces": {key: dict(texts) for key, texts in method.spaces.items()},
    }


# The other side: what runs in the worker and in its forks.


def main() -> None:
    """Answer requests until the input ends."""
    import clser_bench.train.execute  # noqa: F401, PLC0415 (torch, before the first fork)

    remove_leftovers()
    importlib.import_module("joblib")  # it warns where it can make no semaphore, as in a fork
    with channel() as (source, sink):
        while True:
            try:
                environment, (what, asked, means) = pickle.loads(receive(source))  # noqa: S301
            except EOFError:
                return
            os.environ.update(environment)
            with contextlib.suppress(ClserError):  # the fork meets the same error, and reports it
                registry.entries()  # of folders that it cannot list
            answer = _described(asked, source) if what == "describe" else _run(asked, means, source)
            send(sink, pickle.dumps(answer))


def _described(
    asked: Sequence[tuple[str, Mapping[str, Value]]], source: BinaryIO
) -> list[dict[str, Any]] | str:
    names = [name for name, _ in asked]

    def body(send: Callable[[bytes], None]) -> None:
        _enclose(folder, names, Means())
        try:
            found: list[dict[str, Any]] | str = [describe(*each) for each in asked]
        except ClserError as error:
            found = str(error)
        except Exception:  # noqa: BLE001
            # Whatever importing a plugin raises is for its author to see.
            found = f"a method cannot be read: {traceback.format_exc()}"
        send(json.dumps(found).encode())

    with temporary_folder() as folder:
        fork = _Fork(body, source)
        for message in fork.messages():
            answer: list[dict[str, Any]] | str = json.loads(message)
            fork.end()
            return answer
    return f"reading the methods {', '.join(names)} {fork.reason}"


def _run(jobs: Sequence[Job], means: Means, source: BinaryIO) -> list[Outcome]:
    """The outcomes of a pack. Where a fork dies, another goes on with what it had not begun."""
    outcomes: dict[str, Outcome] = {}
    given = [  # nothing in a job can be looked up
        dataclasses.replace(
            job,
            id=str(number),
            problem=dataclasses.replace(
                job.problem,
                source=job.problem.source.anonymous,
                target=job.problem.target.anonymous,
            ),
        )
        for number, job in enumerate(jobs)
    ]
    remaining, alone = given, False
    stamps = _stamps(jobs)
    _import_before_fork(jobs[0].method)
    while remaining:
        with temporary_folder() as folder:
            fork = _Fork(functools.partial(_execute, remaining, means, alone, folder), source)
            begun: list[Job] = []
            fork.patience = means.patience
            for message in fork.messages():
                if message[:1] == _BEGIN:
                    begun = remaining[: int(message[1:])]
                    fork.patience = means.patience * len(begun)
                    continue
                try:
                    found = unpack_outcomes(message[1:], begun)
                except (ValueError, KeyError, TypeError) as error:
                    found = failures(begun, f"the method's process sent no outcome ({error})")
                outcomes.update({outcome.id: outcome for outcome in found})
                remaining, begun = remaining[len(begun) :], []
            fork.end()
        if not remaining:
            break
        if len(begun) > 1 and not fork.late:
            alone = True  # one of them ended the others: each is run for itself
            continue
        lost = begun or remaining[:1]
        failed = failures(lost, f"the process of this trial {fork.reason}")
        outcomes.update({outcome.id: outcome for outcome in failed})
        remaining = remaining[len(lost) :]
    if reason := _damage(stamps):
        return failures(jobs, reason)
    return [
        dataclasses.replace(outcomes[bare.id], id=job.id)
        for bare, job in zip(given, jobs, strict=True)
    ]


_Stamp = list[tuple[int, ...]]


def _stamps(jobs: Sequence[Job]) -> dict[Path, _Stamp]:
    """What the files of the stored tables look like; contents cannot change without it."""
    none = np.zeros(0, np.int64)
    sides = [side for job in jobs for side in (job.problem.source, job.problem.target)]
    folders = {side.stored_rows(none)[0].folder for side in sides}
    with contextlib.suppress(FileNotFoundError):  # the cache may be emptied in mid-run
        return {folder: _stamp(folder) for folder in folders if folder is not None}
    return {}


def _stamp(folder: Path) -> _Stamp:
    found = [(folder / name).stat() for name in ARRAYS]
    return [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found]


def _damage(stamps: Mapping[Path, _Stamp]) -> str:
    """Why the outcomes of a pack cannot be trusted; empty where they can."""
    for folder, stamp in stamps.items():
        with contextlib.suppress(FileNotFoundError):
            if _stamp(folder) == stamp:
                continue
            open_table.cache_clear()
            try:
                open_table("", folder)
            except FeatureError as error:
                return f"a feature table was written to while the pack ran: {error}"
    return ""


def _enclose(folder: Path, methods: Sequence[str], means: Means) -> None:
    """In a fork: leave a method what it needs, and nothing else."""
    for name in [name for name in os.environ if name.startswith("CLSER_")]:
        if name not in registry.VARIABLES:
            del os.environ[name]
    folder = folder / "own"  # beside the lock of its owner
    folder.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    if means.device != "cpu" or confinement() != "confined":
        return
    files = []
    for name in methods:
        with contextlib.suppress(ClserError):  # said where the method is loaded
            files.append(registry.entry(name).origin)
    confine(folder, files, meters=means.energy)


def _import_before_fork(name: str) -> None:
    """Import what the forks of a method would each import for themselves.

    A method of this package, but no plugin of the user's; and what `torch.func` imports when it is
    first used, more than a second.
    """
    confinement()  # tried once for all forks
    with contextlib.suppress(ClserError):  # the fork meets the same error, and reports it
        if registry.entry(name).built_in and registry.load(name).kind == "fitted":
            return
    importlib.import_module("torch._dynamo")


def _execute(
    jobs: Sequence[Job], means: Means, alone: bool, folder: Path, send: Callable[[bytes], None]
) -> None:
    """In a fork: run jobs, and send the outcomes of each part as soon as it is finished."""
    from clser_bench.train.execute import execute  # noqa: PLC0415 (torch is in this process)

    method = jobs[0].method
    _enclose(folder, [method], means)
    try:
        fitted = registry.load(method).kind == "fitted"
    except Exception:  # noqa: BLE001
        # As below: a plugin that cannot be imported is the failure of its trials.
        send(_BEGIN + str(len(jobs)).encode())
        send(_OUTCOMES + pack_outcomes(failures(jobs, traceback.format_exc())))
        return
    # Joules are measured together: many a fit is shorter than what a meter resolves.
    parts = [[job] for job in jobs] if alone or (fitted and not means.energy) else [list(jobs)]
    for part in parts:
        send(_BEGIN + str(len(part)).encode())
        try:
            found = execute(part, threads=1, device=means.device, energy=means.energy)
        except BaseException:  # noqa: BLE001
            # The engine keeps a job's failure to that job. What escapes it, such as SystemExit,
            # is a failure of the part, stored with its traceback.
            found = failures(part, traceback.format_exc())
        if not _intact(part):
            found = failures(part, "the method wrote into the features that it was given")
        send(_OUTCOMES + pack_outcomes(found))


def _intact(jobs: Sequence[Job]) -> bool:
    """Whether the features of a method that is not of this package are what they were."""
    if registry.entry(jobs[0].method).built_in:
        return True  # tests/contract shows it
    sides = {side for job in jobs for side in (job.problem.source, job.problem.target)}
    return all(side.intact() for side in sides if isinstance(side, Reordered))


_BEGIN, _OUTCOMES = b"B", b"O"


class _Fork:
    """A fork of this process that runs a function, which is given one that sends a message.

    Where `source`, the input of this process, ends, the driver is gone, and so is the fork.
    """

    def __init__(self, body: Callable[[Callable[[bytes], None]], None], source: BinaryIO) -> None:
        self.patience = PATIENCE  # seconds until the next message
        self.reason = "ended early"  # how it ended, in words
        self.late = False  # whether it was ended for taking longer
        self._source = source
        reading, writing = os.pipe()
        worker = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            end_with_parent(worker)
            os.close(reading)
            _forked(body, writing)
        os.close(writing)
        self._stream = os.fdopen(reading, "rb", buffering=0)  # `select` does not see buffers

    def messages(self) -> Iterator[bytes]:
        """The messages of the fork until it ends, or until one takes longer than `patience`."""
        with contextlib.suppress(EOFError, ValueError):
            while ready := select.select([self._stream, self._source], [], [], self.patience)[0]:
                if self._stream not in ready:  # nothing is sent to a worker that is busy: the end
                    self.end()
                    sys.exit()
                message = receive(self._stream)
                yield message
            self.late = True
            self.reason = (
                f"was ended: it took longer than {self.patience:g} s (--patience, times the trials "
                "that train together)"
            )

    def end(self) -> None:
        """End the fork with all that it started, if it runs still, and note how it ended."""
        if not self._pid:
            return
        if self.late or not _is_over(self._pid):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if not self.late:
            self.reason = f"died: {exit_in_words(code)}"
        self._pid = 0
        self._stream.close()


def _forked(body: Callable[[Callable[[bytes], None]], None], writing: int) -> NoReturn:
    """Run a function in the fork and end it, whatever happens, without the parent's clean-up."""
    code = 1
    try:
        os.setsid()  # whatever a method starts can be ended with it
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the driver's requests are not for methods
        os.closerange(3, writing)
        os.closerange(writing + 1, os.sysconf("SC_OPEN_MAX"))
        with os.fdopen(writing, "wb") as sink:
            body(lambda message: send(sink, message))
        code = 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(code)


def _is_over(pid: int) -> bool:
    """Whether a fork has ended, or does within the second that an orderly end takes."""
    for _ in range(100):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    main()
