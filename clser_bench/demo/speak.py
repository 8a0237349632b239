"""Speak with espeak-ng: a script of its own, which imports nothing of this package.

espeak-ng keeps state from one utterance to the next (phase, flutter, noise) that no call resets.
So the library is initialised once and each utterance is spoken in a fork of that untouched
process: its samples depend on its own request only. As a separate process it also keeps the
library's messages and its GPL-3 code away from the caller.

Reads one JSON object from standard input: `library` and `data` (paths) and `requests` (objects
with `voice`, `text`, `rate`, `pitch`, `range`, `seed`). Writes, for each request in order, the
number of bytes (8 bytes, little-endian) and 16-bit samples at 22050 Hz.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

RATE = 22050
_SYNCHRONOUS = 2  # samples go to the callback; no audio device is opened
_SPEED, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8 = 1
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def _speak(library: Any, request: dict[str, Any]) -> bytes:
    chunks: list[bytes] = []

    def keep(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(keep)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed(ctypes.c_long(request["seed"]))
    ctypes.CDLL(None).srand(request["seed"])
    text = request["text"].encode() + b"\0"
    failures = [library.espeak_SetVoiceByName(request["voice"].encode())]
    for parameter, value in (
        (_SPEED, request["rate"]),
        (_VOLUME, 100),
        (_PITCH, request["pitch"]),
        (_RANGE, request["range"]),
    ):
        failures.append(library.espeak_SetParameter(parameter, value, 0))
    size = ctypes.c_size_t(len(text))
    failures.append(library.espeak_Synth(text, size, 0, 0, 0, _UTF8, None, None))
    if any(failures) or not chunks:
        raise SystemExit(f"espeak-ng: {request}: codes {failures}, {len(chunks)} blocks of samples")
    return b"".join(chunks)


def _in_a_fork(library: Any, request: dict[str, Any]) -> None:
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"espeak-ng: {request}: the process ended with status {status}")
        return
    code = 1
    try:
        samples = _speak(library, request)
        with open(1, "wb", closefd=False) as out:
            out.write(len(samples).to_bytes(8, "little") + samples)
        code = 0
    except SystemExit as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def main() -> None:
    """Speak what standard input asks for."""
    task = json.load(sys.stdin)
    library = ctypes.CDLL(task["library"])
    if library.espeak_Initialize(_SYNCHRONOUS, 0, task["data"].encode(), 0) != RATE:
        raise SystemExit(f"espeak-ng: cannot be initialised with the data in {task['data']}")
    for request in task["requests"]:
        _in_a_fork(library, request)


if __name__ == "__main__":
    main()
