"""What is imported where torchaudio's compiled part does not load: a made-up torchaudio each."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from clser_bench.errors import FeatureError
from clser_bench.features.acoustic import load_torchaudio

WHOLE = "from . import _extension\nfrom ._extension import fail_if_no_align\nmark = 7\n"
Load = Callable[..., ModuleType]


def own_modules() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a torchaudio whose files hold the given texts, in place of the installed one."""
    installed = {name: sys.modules.pop(name) for name in own_modules()}
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(loader: str, whole: str = WHOLE) -> ModuleType:
        folder = tmp_path / "torchaudio"
        (folder / "_extension").mkdir(parents=True)
        (folder / "__init__.py").write_text(whole)
        (folder / "_extension" / "__init__.py").write_text(loader)
        return load_torchaudio.__wrapped__()

    yield made
    for name in own_modules():
        del sys.modules[name]
    sys.modules.update(installed)


def test_a_good_torchaudio_is_left_as_it_is(load):
    module = load("fail_if_no_align = None\nown = True\n")
    assert (module._extension.own, module.mark) == (True, 7)


def test_a_torchaudio_whose_compiled_part_fails_is_imported_without(load):
    assert load("raise OSError('libc10_cuda.so: cannot open shared object file')\n").mark == 7
    assert not sys.modules["torchaudio._extension"]._IS_ALIGN_AVAILABLE


def test_a_torchaudio_that_fails_otherwise_is_named(load):
    with pytest.raises(FeatureError, match=r"other CUDA.*belongs to the installed torch"):
        load("", whole="raise RuntimeError('other CUDA')\n")
