"""Ask espeak-ng for speech; the library runs in a process of its own (`speak.py`)."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from clser_bench.demo import speak
from clser_bench.errors import CorpusError, MissingExtraError

RATE = speak.RATE
"""Sampling rate of the synthesiser in Hz."""

_PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One utterance to speak; its samples depend on nothing else.

    Attributes:
        voice: espeak-ng's name of language and variant, `de+m3`.
        text: what is said.
        rate: words a minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own, 50 more an octave higher.
        range: pitch range, 0 to 99; 50 is the voice's own.
        seed: of the synthesiser's noise, 31 bits.
    """

    voice: str
    text: str
    rate: int
    pitch: int
    range: int
    seed: int


def synthesise(requests: Sequence[Request]) -> list[npt.NDArray[np.int16]]:
    """Speak some utterances.

    Args:
        requests: what to say and how; the order does not change what an utterance sounds like.

    Returns:
        For each request its samples [samples] at `RATE`.

    Raises:
        MissingExtraError: espeak-ng is not installed.
        CorpusError: espeak-ng cannot speak one of them.
    """
    loader = _loader()
    task = {
        "library": str(loader.get_library_path()),
        "data": str(loader.get_data_path()),
        "requests": [asdict(request) for request in requests],
    }
    done = _run(json.dumps(task).encode())
    spoken = _unpack(done.stdout)
    if done.returncode or len(spoken) != len(requests):
        reason = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise CorpusError(f"the demo corpora cannot be made: {reason}")
    return spoken


def _run(task: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", str(Path(speak.__file__))]
    try:
        return subprocess.run(  # noqa: S603 - our own script under our own interpreter
            command, input=task, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(
            f"the demo corpora cannot be made: espeak-ng took more than {_PATIENCE:.0f} s"
        ) from error


def _loader() -> ModuleType:
    try:
        return importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise MissingExtraError("making the demo corpora", "demo") from error


def _unpack(stream: bytes) -> list[npt.NDArray[np.int16]]:
    spoken = []
    at = 0
    while at + 8 <= len(stream):
        size = int.from_bytes(stream[at : at + 8], "little")
        spoken.append(np.frombuffer(stream[at + 8 : at + 8 + size], dtype="<i2"))
        at += 8 + size
    return spoken
