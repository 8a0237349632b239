"""Fixtures shared by all tiers."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import config

from clser_bench.cleanup import remove_leftovers
from clser_bench.corpora.locate import load_corpora, locate
from clser_bench.corpora.model import Corpus

# A busy machine is no failure: examples have no deadline.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_configure() -> None:
    """Take Ctrl-C again where this process was told to ignore it.

    A shell starts background jobs so, children inherit it, and the tests of Ctrl-C would wait in
    vain.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish() -> None:
    """Remove what processes that tests have killed left in the temporary folder."""
    remove_leftovers()


def shared_folder(name: str, part: str, what: str) -> Path:
    """A folder beside the checkout, or that of an environment variable; a skip without a part."""
    variable = f"CLSER_{name.upper()}"
    folder = Path(os.environ.get(variable) or Path(__file__).parents[2] / "shared" / name)
    if not (folder / part).is_dir():
        pytest.skip(f"no {what}: {folder} has no {part}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """The folder of real speech, or a skip with the reason."""
    return shared_folder("corpora", "emodb", "real speech")


@pytest.fixture(scope="session")
def trained_encoders() -> Path:
    """The folder of trained encoders, or a skip with the reason."""
    return shared_folder("encoders", "whisper-base", "trained weights")


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for real speech that lasts for the session, shared by its worker processes."""
    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real-cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def read_real(real_corpora: Path, real_cache: Path) -> Callable[[str], Corpus]:
    """Reads a real corpus by its code, once in a session."""
    located = locate(real_corpora)

    @functools.cache
    def read(code: str) -> Corpus:
        if code not in located.listings:
            pytest.skip(f"no {located.spec(code).title} in {real_corpora}")
        return load_corpora(codes=[code], located=located, cache=real_cache)[code]

    return read


@pytest.fixture(scope="session")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What methods declare, by the hash of their code: read once, for the caches of all tests."""
    return tmp_path_factory.mktemp("declarations")


@pytest.fixture
def shapes_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No checks of shapes, a third of a training's time, where another test makes them."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(autouse=True)
def own_cache(
    tmp_path: Path,
    declarations: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Path:
    """Give each test a cache of its own, so that none reads or fills the user's.

    The contract is that of the user's own methods too: `CLSER_METHODS=DIR pytest tests/contract`.
    """
    # Beside the folder of the test, which tests find empty.
    cache = tmp_path.with_name(f"{tmp_path.name}-cache")
    cache.mkdir()
    (cache / "methods").symlink_to(declarations)
    monkeypatch.setenv("CLSER_CACHE", str(cache))
    for name in ("CLSER_PLUGINS", "CLSER_TASKS"):
        monkeypatch.setenv(name, "")  # what a test puts in is taken out again
    if "contract" not in request.path.parts:
        monkeypatch.delenv("CLSER_METHODS", raising=False)
    return cache
