"""Audio files to samples, with a reason for every way in which a file can be broken.

Files are read block by block: memory is bounded by the block, or by `LONGEST` where all samples of
an utterance are wanted.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr

from clser_bench.errors import AudioError, counted
from clser_bench.problem import Floats, read_only

if TYPE_CHECKING:
    from typing import BinaryIO

RATES = (4_000, 192_000)
"""Lowest and highest sampling rate in Hz; a header that declares another is taken for damaged."""

LONGEST = 600.0  # seconds that an utterance may last
VIDEO = (".avi",)  # extensions of videos whose sound is decoded by PyAV (the extra `video`)
_BLOCK = 1 << 20  # samples of all channels together
_LARGEST_SAMPLE = 2.0**31  # beyond this even 32-bit integers stored as floats cannot lie
_OPEN_ENDED = 0x7FFFF000  # writers into pipes put in a size from here up: SoX this, ffmpeg 2^32 - 1
_UNKNOWN = 1 << 62  # libsndfile's number of frames where a stream does not say
_MOST_CHUNKS = 1000
_CANCELLED = 1e-3  # peak of the mean, as a share of the channels' peak
_BEHIND = 4096  # bytes behind the samples that may be anything
_MOST_CHANNELS = 64
_PCM = 1, 3, 0xFFFE  # formats of WAV whose frames have a fixed number of bytes
_CONTAINERS = "WAV", "WAVEX", "RF64", "W64", "FLAC", "AIFF", "AU", "CAF", "NIST", "OGG", "MP3"
"""Formats of libsndfile in which a file cut short can be recognised."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono audio in memory."""

    samples: Floats  # float32 [samples], full scale ±1, read-only
    rate: int  # samples per second

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", read_only(self.samples))

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def decode(
    path: Path, *, rate: int | None = None, start: float = 0.0, end: float | None = None
) -> Audio:
    """Read an audio file or a video, or a segment of it (seconds), as mono: the channels averaged.

    At least one sample, all finite; resampled to `rate` in Hz (soxr, very high quality), None for
    the file's own.

    Raises:
        AudioError: the file is missing, no regular file, empty, not audio, truncated, too long,
            of an absurd rate, has no samples, or has samples that are not finite.
    """
    rates, blocks = zip(*mono_blocks(path, start=start, end=end), strict=True)
    try:
        audio = Audio(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), rates[0])
        return audio if rate is None else resampled(audio, rate, path)
    except MemoryError as error:
        raise AudioError(path, "needs more memory than there is") from error


def resampled(audio: Audio, rate: int, path: Path) -> Audio:
    """The same audio at another rate in Hz (soxr, very high quality); AudioError if too short."""
    if rate == audio.rate:
        return audio
    samples = soxr.resample(audio.samples, audio.rate, rate, quality="VHQ")
    if not len(samples):
        raise AudioError(
            path, f"has too few samples ({len(audio.samples)}) to resample to {rate} Hz"
        )
    return Audio(samples, rate)


def content_hash(audio: Audio) -> str:
    """Name audio, as decoded and not resampled, by its rate and samples: SHA-256, in hexadecimal.

    The same for a WAV file and its FLAC copy.
    """
    state = hashlib.sha256(f"{audio.rate}\n".encode("ascii"))
    state.update(np.ascontiguousarray(audio.samples, dtype="<f4").data)
    return state.hexdigest()


def mono_blocks(
    path: Path, *, start: float = 0.0, end: float | None = None
) -> Iterator[tuple[int, Floats]]:
    """The samples of a file or a segment of it, block by block; errors as for `decode`.

    Yields the rate in Hz, and float32 [samples], the channels averaged; at least one sample in all.
    """
    _refuse_absent(path)
    count = 0
    try:
        if path.suffix.lower() in VIDEO:
            source = _cut(_video(path), path, start, end)
        else:
            source = _sound(path, start, end)
        loudest = peak = 0.0
        for rate, channels in source:
            mono = channels.mean(axis=1, dtype=np.float64).astype(np.float32)
            if not np.isfinite(mono).all():
                raise AudioError(path, "has samples that are NaN or infinite")
            if channels.shape[1] > 1:
                loudest = max(loudest, float(np.abs(channels).max(initial=0.0)))
            count += len(mono)
            if count > LONGEST * rate:
                raise _too_long(path)
            if len(mono):
                peak = max(peak, float(np.abs(mono).max()))
                if peak > _LARGEST_SAMPLE:
                    raise AudioError(path, f"has samples of {peak:.3g}, where full scale is 1")
                yield rate, mono
    except MemoryError as error:
        raise AudioError(path, "needs more memory than there is") from error
    if not count:
        raise AudioError(path, "has no samples")
    if peak < _CANCELLED * loudest:
        raise AudioError(path, "has channels that cancel each other; keep one of them")


def _refuse_absent(path: Path) -> None:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(path, f"cannot be read ({reason})") from error
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "is not a file")
    if status.st_size == 0:
        raise AudioError(path, "is empty (0 bytes)")


def _sound(path: Path, start: float, end: float | None) -> Iterator[tuple[int, Floats]]:
    """Rate and samples [samples, channels] of a file that libsndfile reads."""
    try:
        _refuse_short_wav(path)
        with _File(path) as file:
            _refuse_damaged(path, file)
            if not file.seekable():
                yield from _cut(file.blocks_of(), path, start, end)
                return
            rate, frames = file.samplerate, file.frames
            first, last = round(start * rate), frames if end is None else round(end * rate)
            if max(first, last) > frames + rate // 100:
                raise _no_segment(path, start, end, frames / rate)
            wanted = min(last, frames) - first
            if wanted > LONGEST * rate:
                raise _too_long(path, f"{wanted / rate:.0f} s")
            if first:
                file.seek(first)
            got = 0
            for _, block in file.blocks_of(wanted):
                got += len(block)
                yield rate, block
            if got < wanted:
                reason = f"is truncated: {wanted} frames promised, {got} could be decoded"
                raise AudioError(path, reason)
    except (soundfile.SoundFileError, OSError) as error:
        why = getattr(error, "error_string", None) or str(error)
        why = why.removeprefix("Error : ").rstrip(".")
        raise AudioError(path, f"is not audio, or damaged or truncated ({why})") from error


class _File(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that may have been written into a pipe, without its length."""

    def seekable(self) -> bool:
        """Whether the length is known: libsndfile says that it can seek even where it is not."""
        return bool(self.frames < _UNKNOWN and super().seekable())

    def blocks_of(self, left: int = 1 << 62) -> Iterator[tuple[int, Floats]]:
        """Rate and samples [samples, channels] of so many frames, or up to the end."""
        size = max(1, _BLOCK // self.channels)
        while left > 0 and len(block := self.read(min(size, left), "float32", always_2d=True)):
            left -= len(block)
            yield self.samplerate, block


def _no_segment(path: Path, start: float, end: float | None, lasts: float) -> AudioError:
    end = end or lasts
    return AudioError(path, f"has no segment from {start:g} to {end:g} s: it lasts {lasts:g} s")


def _truncated(path: Path, promised: int, got: int, what: str = "bytes") -> AudioError:
    return AudioError(path, f"is truncated: {promised} {what} promised, {got} are there")


def _too_long(path: Path, lasts: str = "longer") -> AudioError:
    return AudioError(
        path,
        f"lasts {lasts}, and an utterance {LONGEST:.0f} s at most; list its utterances in a "
        "manifest with the columns start and end, or cut it",
    )


def _refuse_damaged(path: Path, file: soundfile.SoundFile) -> None:
    """Compare what a header promises with what libsndfile found; it reads what is there."""
    if file.format not in _CONTAINERS:
        raise AudioError(
            path, f"is {file.format_info}, which is not read; convert it to WAV or FLAC"
        )
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise AudioError(path, f"declares {file.samplerate} Hz; {low} to {high} Hz are read")
    if file.channels > _MOST_CHANNELS:
        raise AudioError(
            path, f"declares {file.channels} channels; at most {_MOST_CHANNELS} are read"
        )
    if file.format in ("WAV", "WAVEX"):
        _refuse_contradictory_wav(path)
        return  # `_refuse_short_wav` has looked at its sizes
    log = file.extra_info
    for name, promised, got in re.findall(r"^\s*([\w ]+?) *: (\d+) \(should be (\d+)\)", log, re.M):
        outer = name.lower() in ("form", "riff", "riff size")
        if int(got) + (8 if outer else 1) < int(promised) < _OPEN_ENDED:
            raise _truncated(path, int(promised), int(got))
    if match := re.search(r"frame count (\d+) does not match .* of (\d+)", log):
        got, promised = map(int, match.groups())
        if got < promised < _OPEN_ENDED:
            raise _truncated(path, promised, got, "frames")
    if file.format == "NIST":
        with path.open("rb") as stream:
            counted = re.search(rb"sample_count -i (\d+)", stream.read(1024))
        if counted and file.frames < int(counted[1]):
            raise _truncated(path, int(counted[1]), file.frames, "frames")
    if file.format == "OGG" and not _ogg_ends(path, path.stat().st_mtime_ns):
        raise AudioError(
            path, "is truncated: its stream does not end, or another follows, which is not read"
        )


@functools.lru_cache(maxsize=64)
def _ogg_ends(path: Path, _changed: int) -> bool:
    """Whether an Ogg file is one whole stream: its last page ends it, and no other page does."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        *before, place = (found.start() for found in re.finditer(b"OggS", pages))
        if len(pages) < place + 27 or any(pages[page + 5] & 4 for page in before):
            return False
        segments = pages[place + 27 : place + 27 + pages[place + 26]]
        return (
            len(segments) == pages[place + 26]
            and bool(pages[place + 5] & 4)
            and pages[place + 14 : place + 18] == pages[14:18]
            and len(pages) >= place + 27 + len(segments) + sum(segments)
        )


def _refuse_short_wav(path: Path) -> None:
    """Compare the data chunk's size with the file: libsndfile silently reads what is there."""
    with path.open("rb") as stream:
        order = {b"RIFF": "<", b"RIFX": ">"}.get(stream.read(4), "")
        if not order or stream.seek(8) != 8 or stream.read(4) != b"WAVE":
            return
        end = path.stat().st_size
        for name, size in _chunks(stream, order):
            left = end - stream.tell()
            if name == b"data":
                if left < size < _OPEN_ENDED:
                    raise _truncated(path, size, left, "bytes of samples")
                stream.seek(size + size % 2, os.SEEK_CUR)
                if left - size > max(size, _BEHIND) and not _are_chunks(stream, order, end):
                    raise AudioError(
                        path,
                        f"has {left - size} bytes behind the {size} bytes of samples that its "
                        "header gives: its writer did not finish it; write the header anew",
                    )
                return
            stream.seek(size + size % 2, os.SEEK_CUR)
        if stream.tell() < end:
            raise AudioError(path, f"is not audio: {_MOST_CHUNKS} chunks, and none has samples")
    raise AudioError(path, "is truncated: its header ends before the samples")


def _refuse_contradictory_wav(path: Path) -> None:
    """Compare the numbers of a header with each other: one that is wrong changes the sound."""
    with path.open("rb") as stream:
        order = {b"RIFF": "<", b"RIFX": ">"}.get(stream.read(4), "")
        stream.seek(12)
        for name, size in _chunks(stream, order) if order else ():
            if name == b"fmt " and size >= 16:
                break
            stream.seek(size + size % 2, os.SEEK_CUR)
        else:
            return
        kind, channels, rate, speed, frame, bits = struct.unpack(f"{order}HHIIHH", stream.read(16))
    if kind in _PCM and (speed != rate * frame or frame % channels or 8 * frame < bits * channels):
        raise AudioError(
            path,
            f"contradicts itself: {rate} Hz, {counted(channels, 'channel')} of {bits} bits, frames "
            f"of {frame} bytes and {speed} bytes a second; convert it anew, or write the header "
            "anew",
        )


def _chunks(stream: BinaryIO, order: str) -> Iterator[tuple[bytes, int]]:
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return
        yield struct.unpack(f"{order}4sI", head)


def _are_chunks(stream: BinaryIO, order: str, end: int) -> bool:
    """Whether a chunk follows that has a name and lies within the file."""
    name, size = next(_chunks(stream, order), (b"", end))
    return name.isascii() and name.decode("ascii").isprintable() and stream.tell() + size <= end


def _video(path: Path) -> Iterator[tuple[int, Floats]]:
    """Rate and samples [samples, channels] of a video's first sound track."""
    try:
        import av  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise AudioError(
            path,
            "is a video; install the extra 'video' (pip install 'clser-bench[video]'), or extract "
            f'its sound beside it: ffmpeg -i "{path.name}" -vn "{path.stem}.wav"',
        ) from error
    _refuse_short_riff(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(path, "is a video without sound")
            stream = container.streams.audio[0]
            low, high = RATES
            if not low <= stream.rate <= high:
                raise AudioError(path, f"declares {stream.rate} Hz; {low} to {high} Hz are read")
            convert = av.AudioResampler(format="fltp")
            for frame in container.decode(stream):
                for part in convert.resample(frame):
                    yield stream.rate, part.to_ndarray().T
    except (av.FFmpegError, OSError) as error:
        raise AudioError(path, f"is no video, or damaged ({error})") from error


def _refuse_short_riff(path: Path) -> None:
    """Compare the size that a RIFF file gives with its own: FFmpeg decodes what is there."""
    with path.open("rb") as stream:
        name, size = struct.unpack("<4sI", stream.read(8).ljust(8, b"\0"))
    got = path.stat().st_size - 8
    if name == b"RIFF" and got + 1 < size < _OPEN_ENDED:
        raise _truncated(path, size, got)


def _cut(
    source: Iterator[tuple[int, Floats]], path: Path, start: float, end: float | None
) -> Iterator[tuple[int, Floats]]:
    """A segment of a stream that cannot be searched."""
    place, rate = 0, 0
    for rate, block in source:
        first = max(0, round(start * rate) - place)
        last = len(block) if end is None else min(len(block), round(end * rate) - place)
        place += len(block)
        if last > first:
            yield rate, block[first:last]
    if end is not None and round(end * rate) > place + rate // 100:
        raise _no_segment(path, start, end, place / rate)
