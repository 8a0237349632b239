"""The demo corpora: the plan of every utterance, espeak-ng's speech made into recordings, on disk.

Rules of emotional prosody with their sources, languages, voices and sentences are in `voices.toml`.
espeak-ng runs in a separate process (`speak.py`). Whoever changes the sound raises `VERSION`; else
finished corpora stay.
"""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when used: this one in a second
import soundfile
import soxr

from clser_bench.cleanup import temporary_folder
from clser_bench.corpora.definitions import CorpusSpec, definitions
from clser_bench.demo import speak
from clser_bench.errors import CorpusError, MissingExtraError
from clser_bench.files import cache_folder
from clser_bench.hashing import digest, generator, seed_of
from clser_bench.progress import SILENT, Progress, shown

VERSION = 1
"""Raised when the demo corpora come out differently: they get a new folder."""

SPOKEN_RATE = speak.RATE
"""Sampling rate of the synthesiser in Hz."""

RATE = 16_000
"""Sampling rate of the demo corpora in Hz."""

_SENTENCES_EACH = 4

# Standard deviation between utterances of one speaker and emotion, in the rules' units.
_SCATTER = {
    "rate": 8.0,
    "pitch": 1.2,
    "range": 20.0,
    "loudness": 2.0,
    "brightness": 1.5,
    "breath": 0.1,
    "tremor": 0.08,
}

PARAMETERS = tuple(_SCATTER)
"""What a rule may change."""

# Deviation between speakers in how they express one emotion, as a share of `_SCATTER`.
_SPEAKERS = 0.8

# Range of the factor by which a language's rule for one emotion differs from its strengths: the
# direction of a published rule is never turned round.
_LANGUAGES = (0.4, 1.6)

_LEVEL = -27.0  # dB, root mean square of a neutral utterance relative to full scale
_PEAK = 0.95
_TREMOR_HZ = 6.5
_HISS = {"telephone": -62, "room": -65, "clean": -75, "noise": -38}  # dB re full scale
_PATIENCE = 300.0  # seconds
_MARKER = "complete.json"

Channel = Literal["telephone", "room", "clean", "noise"]
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Language:
    """One synthetic corpus."""

    code: str  # of the corpus definition
    language: str  # espeak-ng's name of the language
    # speaker to espeak-ng's `variant`, `pitch` (semitones above the variant's own) and `rate`
    # (words a minute)
    voices: Mapping[str, Mapping[str, Any]]
    sentences: tuple[str, ...]  # what is said, with nothing emotional in it
    # how much of each rule shows, by parameter; 1 is the rule itself
    strengths: Mapping[str, float]
    scatter: float  # how much utterances, and speakers among each other, vary; 1 is usual
    channel: Channel  # what the recording went through


_DATA: dict[str, Any] = tomllib.loads(
    importlib.resources.files(__package__).joinpath("voices.toml").read_text(encoding="utf-8")
)
LANGUAGES = tuple(Language(**entry) for entry in _DATA["languages"])
RULES: list[dict[str, Any]] = _DATA["rules"]
"""Changes relative to neutral: `emotion`, `parameter`, `change`, `source`, `says`."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One utterance to speak; its samples depend on nothing else."""

    voice: str  # espeak-ng's name of language and variant, `de+m3`
    text: str
    rate: int  # words a minute, 80 to 450
    pitch: int  # 0 to 99; 50 is the voice's own, 50 more an octave higher
    range: int  # pitch range, 0 to 99; 50 is the voice's own
    seed: int  # of the synthesiser's noise, 31 bits


@dataclass(frozen=True, kw_only=True)
class Take:
    """One utterance to make."""

    name: str  # file relative to the corpus folder
    emotion: str  # one of `EMOTIONS`
    speaker: str
    request: Request  # to the synthesiser
    loudness: float  # dB relative to the corpus's usual level
    brightness: float  # dB added above 1 kHz
    breath: float  # share of noise above 1.5 kHz, 0 to 1
    tremor: float  # depth of the modulation of loudness, 0 to 1
    seed: int  # of the noise that is added


def changes(emotion: str) -> dict[str, float]:
    """Changes of an emotion by parameter; 0 where there is no rule."""
    ruled = {rule["parameter"]: rule["change"] for rule in RULES if rule["emotion"] == emotion}
    return {parameter: float(ruled.get(parameter, 0.0)) for parameter in PARAMETERS}


@functools.cache
def takes() -> Mapping[str, tuple[Take, ...]]:
    """Everything that is spoken, by corpus code, in a fixed order."""
    planned = {}
    for language in LANGUAGES:
        spec, count = definitions().corpora[language.code], len(language.sentences)
        planned[language.code] = tuple(
            _take(language, spec, speaker=speaker, label=label, sentence=sentence)
            for position, speaker in enumerate(language.voices)
            for label in spec.labels
            # every speaker says most of the sentences, each another selection
            for sentence in sorted((position + step) % count for step in range(_SENTENCES_EACH))
        )
    return planned


def _take(language: Language, spec: CorpusSpec, *, speaker: str, label: str, sentence: int) -> Take:
    emotion = spec.labels[label]
    who = (VERSION, language.code, speaker, emotion)
    purpose = ("demo", *who, sentence)
    # the rule as the language has it, the speaker's own way, and the utterance's chance
    size = len(PARAMETERS)
    factors = generator("demo language", VERSION, language.code, emotion).uniform(*_LANGUAGES, size)
    own = _SPEAKERS * generator("demo speaker", *who).standard_normal(size)
    now = generator("demo utterance", *who, sentence).standard_normal(size)
    scatter = language.scatter * np.array([_SCATTER[name] for name in PARAMETERS])
    rule = np.array([changes(emotion)[name] * language.strengths[name] for name in PARAMETERS])
    values = (rule * factors + scatter * (own + now)).tolist()
    shift = dict(zip(PARAMETERS, values, strict=True))
    voice = language.voices[speaker]

    def bounded(value: float, low: int, high: int) -> int:
        return int(min(max(round(value), low), high))

    return Take(
        name=f"{speaker}/{label}_s{sentence + 1}.wav",
        emotion=emotion,
        speaker=speaker,
        request=Request(
            voice=f"{language.language}+{voice['variant']}",
            text=language.sentences[sentence],
            rate=bounded(voice["rate"] * (1 + shift["rate"] / 100), 80, 400),
            pitch=bounded(50 + (voice["pitch"] + shift["pitch"]) * 50 / 12, 0, 99),
            range=bounded(50 * (1 + shift["range"] / 100), 0, 99),
            seed=seed_of(*purpose) % 2**31,
        ),
        loudness=round(shift["loudness"], 3),
        brightness=round(shift["brightness"], 3),
        breath=round(min(max(shift["breath"], 0.0), 1.0), 3),
        tremor=round(min(max(shift["tremor"], 0.0), 0.9), 3),
        seed=seed_of(*purpose, "noise"),
    )


@functools.cache
def recipe() -> str:
    """Hash of everything the demo corpora are made from; 64 hexadecimal digits."""
    planned = {
        language.code: [language.channel, [asdict(take) for take in takes()[language.code]]]
        for language in LANGUAGES
    }
    return digest({"version": VERSION, "rules": RULES, "takes": planned})


def demo_corpora(folder: Path | None = None, *, progress: Progress = SILENT) -> Path:
    """Make the four synthetic corpora in `folder/demo-v1`, by default in the cache, unless there.

    They are written aside and put in place in one step, so that an interrupted run leaves nothing
    that could be taken for a corpus. MissingExtraError where they must be made and espeak-ng is not
    installed, CorpusError where they cannot be made or written.
    """
    parent = cache_folder() if folder is None else folder
    place = parent / f"demo-v{VERSION}"
    if _is_complete(place):
        return place
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with (
            temporary_folder(parent, prefix=".demo-") as aside,
            shown(progress, "making synthetic speech", sum(map(len, takes().values()))),
        ):
            made = aside / place.name
            for language in LANGUAGES:
                wanted = takes()[language.code]
                spoken = synthesise([take.request for take in wanted])
                for take, samples in zip(wanted, spoken, strict=True):
                    file = made / definitions().corpora[language.code].name / take.name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    recorded = record(samples, take=take, channel=language.channel)
                    soundfile.write(file, recorded, RATE, subtype="PCM_16")
                    progress.advance()
            (made / _MARKER).write_text(json.dumps({"recipe": recipe()}), encoding="utf-8")
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
    paths = {"library": str(loader.get_library_path()), "data": str(loader.get_data_path())}
    task = {**paths, "requests": [asdict(request) for request in requests]}
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
    # noise that follows the voice's envelope takes the place of its upper harmonics
    white = noise.standard_normal(len(voice))
    hiss = _filtered(white, 2, 1500, "highpass")
    envelope = _filtered(np.abs(voice), 1, 30)
    low = _filtered(voice, 2, 1500)
    airy = low + 0.5 * np.maximum(envelope, 0) * hiss
    voice = (1 - take.breath) * voice + take.breath * airy
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
