"""Import torchaudio where its compiled part does not load.

The wheels of torchaudio on the package index are linked against CUDA. Beside the CPU build of
torch, `import torchaudio` therefore fails with "libc10_cuda.so: cannot open shared object file",
although the functions used here are plain PyTorch. A stub in place of the loader of the compiled
part lets the rest be imported. Where torchaudio imports by itself, nothing is touched.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from clser_bench.errors import FeatureError

_LOADER = "torchaudio._extension"


@functools.cache
def load_torchaudio() -> ModuleType:
    """Import torchaudio, without its compiled part where that does not load.

    Returns:
        The module `torchaudio`; its `functional` and `transforms` work.

    Raises:
        FeatureError: torchaudio is not installed, or fails for another reason.
    """
    try:
        return importlib.import_module("torchaudio")
    except ModuleNotFoundError as error:
        raise FeatureError(
            "torchaudio is not installed, and acoustic features and encoders need it: "
            "pip install torchaudio"
        ) from error
    except (OSError, ImportError, RuntimeError) as error:
        return _without_compiled_part(error)


def _without_compiled_part(cause: Exception) -> ModuleType:
    """Import again behind the stub; what the failed import left behind is dropped first."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules[_LOADER] = _stub()
    try:
        return importlib.import_module("torchaudio")
    except (OSError, ImportError, RuntimeError) as error:
        del sys.modules[_LOADER]
        raise FeatureError(
            f"torchaudio cannot be imported ({cause}), nor without its compiled part ({error}); "
            "install the torchaudio that belongs to the installed torch"
        ) from error


def _stub() -> ModuleType:
    """A loader that says that no compiled part is there."""

    def missing(name: str) -> Any:
        # Older releases ask for further switches of this form.
        if name.startswith("_IS_"):
            return False
        raise AttributeError(name)

    stub = ModuleType(_LOADER)
    stub.__dict__["_IS_TORCHAUDIO_EXT_AVAILABLE"] = False
    stub.__dict__["_IS_ALIGN_AVAILABLE"] = False
    stub.__dict__["fail_if_no_align"] = lambda function: function
    stub.__dict__["__getattr__"] = missing
    return stub
