"""One process at a time: what one extracts, another waits for instead of doing it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from clser_bench.features.files import told_plainly
from clser_bench.progress import Progress


@contextmanager
def turn(cache: Path, key: str, *, what: str, progress: Progress) -> Iterator[None]:
    """Hold a lock of the cache; wait for it, and say so, while another process has it.

    The lock goes with the process that holds it, however that ends.

    Args:
        cache: the cache folder.
        key: of what is worked on.
        what: for the message while waiting.
        progress: told of the wait.

    Raises:
        FeatureError: the cache cannot be written.
    """
    folder = cache / "locks"
    with told_plainly(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{key}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.start(f"{what}: waiting for another process that does the same", 1)
            try:
                lock.acquire()
            finally:
                progress.stop()
    try:
        yield
    finally:
        lock.release()
