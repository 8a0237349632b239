"""Making the demo corpora: espeak-ng's speech, made into recordings, on disk.

espeak-ng runs in a separate process (`speak.py`). Whoever changes the sound raises `VERSION` of
`takes.py`; else finished corpora stay.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when used: this one in a second
import soundfile
import soxr

from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.definitions import definitions
from clser_bench.demo import speak
from clser_bench.demo.takes import (
    LANGUAGES,
    VERSION,
    Channel,
    Language,
    Request,
    Take,
    recipe,
    takes,
)
from clser_bench.errors import CorpusError, MissingExtraError
from clser_bench.files import cache_folder
from clser_bench.hashing import generator
from clser_bench.progress import SILENT, Progress, shown

SPOKEN_RATE = speak.RATE
"""Sampling rate of the synthesiser in Hz."""

RATE = 16_000
"""Sampling rate of the demo corpora in Hz."""

_LEVEL = -27.0  # dB, root mean square of a neutral utterance relative to full scale
_PEAK = 0.95
_TREMOR_HZ = 6.5

Samples = npt.NDArray[np.float64]
_PATIENCE = 300.0


_MARKER = "complete.json"


def demo_corpora(folder: Path | None = None, *, progress: Progress = SILENT) -> Path:
    """Make the four synthetic corpora in `folder/demo-v1`, by default in the cache, unless there.

    They are written aside and put in place in one step, so that an interrupted run leaves
    nothing that could be taken for a corpus.

    Raises:
        MissingExtraError: they must be made and espeak-ng is not installed.
        CorpusError: they cannot be made or written.
    """
    parent = cache_folder() if folder is None else folder
    place = parent / f"demo-v{VERSION}"
    if _is_complete(place):
        return place
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(parent, prefix=".demo-") as aside:
            made = aside / place.name
            _write(made, progress)
            _put_in_place(made, place)
    except (OSError, soundfile.SoundFileError) as error:
        raise CorpusError(f"{place}: the demo corpora cannot be written ({error})") from error
    return place


def _is_complete(place: Path) -> bool:
    try:
        marker = json.loads((place / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(marker == {"recipe": recipe()}) and all(
        (place / definitions().corpora[language.code].name / take.name).is_file()
        for language in LANGUAGES
        for take in takes()[language.code]
    )


def _write(place: Path, progress: Progress) -> None:
    with shown(progress, "making synthetic speech", sum(map(len, takes().values()))):
        for language in LANGUAGES:
            _write_corpus(place / definitions().corpora[language.code].name, language, progress)
    (place / _MARKER).write_text(json.dumps({"recipe": recipe()}), encoding="utf-8")


def _write_corpus(folder: Path, language: Language, progress: Progress) -> None:
    wanted = takes()[language.code]
    spoken = synthesise([take.request for take in wanted])
    for take, samples in zip(wanted, spoken, strict=True):
        file = folder / take.name
        file.parent.mkdir(parents=True, exist_ok=True)
        recorded = record(samples, take=take, channel=language.channel)
        soundfile.write(file, recorded, RATE, subtype="PCM_16")
        progress.advance()


def _put_in_place(made: Path, place: Path) -> None:
    """Rename, unless another process was faster; what is there and incomplete goes."""
    if place.exists() and not _is_complete(place):
        shutil.rmtree(place)
    try:
        made.rename(place)
    except OSError:
        if not _is_complete(place):
            raise


def synthesise(requests: Sequence[Request]) -> list[npt.NDArray[np.int16]]:
    """Speak utterances, in any order: for each its samples [samples] at `SPOKEN_RATE`.

    MissingExtraError where espeak-ng is not installed, CorpusError where it cannot speak one.
    """
    try:
        loader = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise MissingExtraError("making the demo corpora", "demo") from error
    task = {
        "library": str(loader.get_library_path()),
        "data": str(loader.get_data_path()),
        "requests": [asdict(request) for request in requests],
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own script under our own interpreter
            [sys.executable, "-I", str(Path(speak.__file__))],
            input=json.dumps(task).encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(
            f"the demo corpora cannot be made: espeak-ng took more than {_PATIENCE:.0f} s"
        ) from error
    spoken, at = [], 0
    while at + 8 <= len(done.stdout):
        size = int.from_bytes(done.stdout[at : at + 8], "little")
        spoken.append(np.frombuffer(done.stdout[at + 8 : at + 8 + size], dtype="<i2"))
        at += 8 + size
    if done.returncode or len(spoken) != len(requests):
        reason = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise CorpusError(f"the demo corpora cannot be made: {reason}")
    return spoken


def record(spoken: npt.NDArray[np.int16], *, take: Take, channel: Channel) -> Samples:
    """Turn synthesised speech [samples] at `SPOKEN_RATE` into a recording at `RATE`, within ±1.

    Voice quality and loudness are the take's; the channel comes last.
    """
    voice = soxr.resample(spoken / 32768.0, SPOKEN_RATE, RATE, quality="VHQ")
    noise = generator("demo noise", take.seed)
    voice = _breathy(voice, share=take.breath, noise=noise)
    # what lies above 1 kHz is louder in a tense voice, softer in a lax one
    voice = voice + (10 ** (take.brightness / 20) - 1) * _filtered(voice, 1, 1000, "highpass")
    turn = 2 * np.pi * _TREMOR_HZ * (np.arange(len(voice)) / RATE)
    voice = voice * (1 + take.tremor * np.sin(turn + noise.uniform(0, 2 * np.pi)))
    voice *= 10 ** ((_LEVEL + take.loudness) / 20) / (float(np.sqrt(np.mean(voice**2))) + 1e-9)
    recorded = _through(channel, voice, noise)
    peak = float(np.abs(recorded).max()) + 1e-9
    return np.asarray(recorded * min(1.0, _PEAK / peak), dtype=np.float64)


def _filtered(
    samples: Samples,
    order: int,
    hertz: float | list[float],
    kind: Literal["lowpass", "highpass", "bandpass"] = "lowpass",
) -> Samples:
    sections = scipy.signal.butter(order, hertz, kind, fs=RATE, output="sos")
    filtered: Samples = scipy.signal.sosfilt(sections, samples)
    return filtered


def _breathy(voice: Samples, *, share: float, noise: np.random.Generator) -> Samples:
    """Let noise that follows the voice's envelope take the place of its upper harmonics."""
    white = noise.standard_normal(len(voice))
    low = _filtered(voice, 2, 1500)
    hiss = _filtered(white, 2, 1500, "highpass")
    envelope = _filtered(np.abs(voice), 1, 30)
    return (1 - share) * voice + share * (low + 0.5 * np.maximum(envelope, 0) * hiss)


_HISS = {"telephone": -62, "room": -65, "clean": -75, "noise": -38}  # dB re full scale


def _through(channel: Channel, voice: Samples, noise: np.random.Generator) -> Samples:
    """What a recording through a channel has of a voice, with the channel's noise."""
    hiss = noise.standard_normal(len(voice)) * 10 ** (_HISS[channel] / 20)
    if channel == "telephone":
        return _filtered(voice, 4, [300, 3400], "bandpass") + hiss
    if channel == "room":  # of 0.4 s reverberation time; the same one for every utterance
        seconds = np.arange(int(0.35 * RATE)) / RATE
        tail = generator("demo room").standard_normal(len(seconds)) * 10 ** (-3 * seconds / 0.4)
        tail *= 0.6 / np.sqrt(np.sum(tail**2))
        tail[0] = 1.0
        return scipy.signal.fftconvolve(voice, tail)[: len(voice)] + hiss
    # steady noise of a noisy place is stronger in low frequencies
    return voice + (_filtered(hiss, 1, 500) if channel == "noise" else hiss)
