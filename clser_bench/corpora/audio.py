"""Audio files to samples, with every way in which a file can be broken told apart."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from clser_bench.errors import AudioError
from clser_bench.problem import Floats, read_only

_BLOCK = 1 << 20
_OPEN_ENDED = 0x7FFFFF00  # writers that do not know the length yet put in a size from here up


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono audio in memory.

    Attributes:
        samples: float32 [samples], full scale ±1, read-only.
        rate: samples per second.
    """

    samples: Floats
    rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", read_only(self.samples))

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def decode(path: Path, *, rate: int | None = None) -> Audio:
    """Read an audio file as mono.

    Args:
        path: a file that libsndfile can read (WAV, FLAC and others).
        rate: resample to this rate in Hz (soxr, very high quality); None keeps the file's own.

    Returns:
        The channels averaged, at least one sample, all finite.

    Raises:
        AudioError: the file is missing, empty, not audio, truncated, has no samples, or has
            samples that are not finite.
    """
    _refuse_absent(path)
    channels, own = _read(path)
    if not len(channels):
        raise AudioError(path, "has no samples")
    if not np.isfinite(channels).all():
        raise AudioError(path, "has samples that are NaN or infinite")
    mono = channels.mean(axis=1, dtype=np.float64).astype(np.float32)
    if rate is None or rate == own:
        return Audio(mono, own)
    resampled = soxr.resample(mono, own, rate, quality="VHQ")
    if not len(resampled):
        raise AudioError(path, f"has too few samples ({len(mono)}) to resample to {rate} Hz")
    return Audio(resampled, rate)


def content_hash(audio: Audio) -> str:
    """Name audio by what is heard: rate and samples.

    Args:
        audio: as decoded, not resampled.

    Returns:
        SHA-256, 64 hexadecimal digits; the same for a WAV file and its FLAC copy.
    """
    state = hashlib.sha256(f"{audio.rate}\n".encode("ascii"))
    state.update(np.ascontiguousarray(audio.samples, dtype="<f4").data)
    return state.hexdigest()


def _refuse_absent(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror})") from error
    if not path.is_file():
        raise AudioError(path, "is not a file")
    if size == 0:
        raise AudioError(path, "is empty (0 bytes)")


def _read(path: Path) -> tuple[Floats, int]:
    """Samples [samples, channels] and the rate."""
    try:
        _refuse_short_wav(path)
        with soundfile.SoundFile(path) as file:
            blocks = [file.read(_BLOCK, dtype="float32", always_2d=True)]
            while len(blocks[-1]) == _BLOCK:
                blocks.append(file.read(_BLOCK, dtype="float32", always_2d=True))
            promised, rate = file.frames, file.samplerate
    except (soundfile.SoundFileError, OSError) as error:
        why = getattr(error, "error_string", None) or str(error)
        why = why.removeprefix("Error : ").rstrip(".")
        raise AudioError(path, f"is not audio, or damaged or truncated ({why})") from error
    got = sum(map(len, blocks))
    if got < promised:
        raise AudioError(path, f"is truncated: {promised} frames promised, {got} could be decoded")
    return np.concatenate(blocks), rate


def _refuse_short_wav(path: Path) -> None:
    """Compare the data chunk's size with the file: libsndfile silently reads what is there."""
    with path.open("rb") as stream:
        if stream.read(4) != b"RIFF" or stream.seek(8) != 8 or stream.read(4) != b"WAVE":
            return
        end = path.stat().st_size
        while len(head := stream.read(8)) == 8:
            name, size = struct.unpack("<4sI", head)
            left = end - stream.tell()
            if name == b"data":
                if left < size < _OPEN_ENDED:
                    raise AudioError(
                        path, f"is truncated: {size} bytes of samples promised, {left} are there"
                    )
                return
            stream.seek(size + size % 2, os.SEEK_CUR)
    raise AudioError(path, "is truncated: its header ends before the samples")
