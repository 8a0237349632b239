"""Decoding: right samples, and every kind of broken file refused for its own reason."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.audio import Audio, content_hash, decode, mono_blocks
from clser_bench.errors import AudioError
from tests.fake_corpora import write_tone

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A second of noise with two channels."""
    soundfile.write(tmp_path / "a.wav", NOISE, 8000)
    return tmp_path / "a.wav"


def refuses(path: Path, *, match: str, **how: Any) -> None:
    with pytest.raises(AudioError, match=match) as caught:
        decode(path, **how)
    assert caught.value.path == str(path)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def patch(path: Path, place: int, new: bytes) -> None:
    """Write other bytes at a place of a file."""
    content = path.read_bytes()
    path.write_bytes(content[:place] + new + content[place + len(new) :])


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, 8000, subtype="FLOAT")
    audio = decode(tmp_path / "a.wav")
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, NOISE.mean(axis=1), atol=1e-7)
    assert (audio.rate, audio.seconds) == (8000, 1.0)
    assert not audio.samples.flags.writeable
    soundfile.write(tmp_path / "a.wav", NOISE * [1, 0], 8000)  # a silent one cancels nothing
    assert decode(tmp_path / "a.wav").seconds == 1


def test_a_resampled_tone_is_the_tone(tmp_path):
    time = np.arange(48000) / 48000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 48000)
    audio = decode(tmp_path / "a.wav", rate=16000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert audio.rate == 16000
    np.testing.assert_allclose(audio.samples[500:-500], wanted[500:-500], atol=1e-3)


def test_the_hash_is_that_of_the_samples_and_their_rate(tmp_path):
    """Feature caches and row order hang on it, so it must never change."""
    audio = Audio(np.array([0, 0.5, -1], np.float32), 8000)
    by_hand = hashlib.sha256(b"8000\n" + bytes.fromhex("00000000 0000003f 000080bf"))
    assert content_hash(audio) == by_hand.hexdigest()
    samples = (NOISE[:, 0] * 2**15).astype(np.int16)
    for name, rate in (("a.wav", 8000), ("a.flac", 8000), ("b.wav", 16000)):
        soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")
    wav, flac, faster = (content_hash(decode(tmp_path / n)) for n in ("a.wav", "a.flac", "b.wav"))
    assert wav == flac != faster


CONTAINERS = dict.fromkeys(
    ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "RIFX", "FLAC"], "PCM_16"
)
CONTAINERS |= {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


@pytest.mark.parametrize("form", CONTAINERS)
def test_cut_files_of_every_container(tmp_path, form):
    path = tmp_path / "a"
    name, endian = ("WAV", "BIG") if form == "RIFX" else (form, None)
    soundfile.write(path, NOISE, 8000, format=name, subtype=CONTAINERS[form], endian=endian)
    assert decode(path).seconds == pytest.approx(1, abs=0.1)
    whole = path.read_bytes()
    for share in (0.001, 0.01, 0.3, 0.7, 0.99, 0.9999) if form in {"WAV", "FLAC"} else (0.7,):
        path.write_bytes(whole[: int(len(whole) * share)])
        refuses(path, match="truncated")


@pytest.mark.parametrize(("riff", "data"), [(0x7FFFF024, 0x7FFFF000), (2**32 - 1, 2**32 - 1)])
def test_wav_of_open_length_is_read(wav, riff, data):
    """As SoX and ffmpeg write into a pipe."""
    patch(wav, 4, riff.to_bytes(4, "little"))
    patch(wav, wav.read_bytes().index(b"data") + 4, data.to_bytes(4, "little"))
    assert len(decode(wav).samples) == 8000


def test_flac_of_open_length_is_read(tmp_path):
    """As encoders write into a pipe: no number of samples."""
    path = tmp_path / "a.flac"
    soundfile.write(path, NOISE, 8000)
    whole, content = decode(path).samples, path.read_bytes()
    patch(path, 21, bytes([content[21] & 0xF0, 0, 0, 0, 0]))
    np.testing.assert_array_equal(decode(path).samples, whole)
    np.testing.assert_array_equal(decode(path, start=0.25, end=0.5).samples, whole[2000:4000])
    path.write_bytes(path.read_bytes()[: len(content) // 2])
    refuses(path, match="truncated")


@pytest.mark.parametrize("size", [0, 2000])
def test_samples_that_the_header_does_not_count(wav, size):
    """Of a recorder that was killed; chunks behind the samples are no such thing."""
    content = wav.read_bytes()
    wav.write_bytes(content + b"cart" + (40_000).to_bytes(4, "little") + bytes(40_000))
    assert decode(wav).seconds == 1
    wav.write_bytes(content)
    patch(wav, content.index(b"data") + 4, size.to_bytes(4, "little"))
    refuses(wav, match=f"bytes behind the {size} bytes of samples")


HEADERS: list[tuple[str, int, bytes, str]] = [
    ("WAV", 24, rate.to_bytes(4, "little"), f"declares {rate} Hz; 4000 to 192000 Hz are read")
    for rate in (1, 10, 3999, 192_001, 67_124_864)
]
HEADERS += [  # rate, channels, bytes a second, bytes a frame, bits
    (form, place, value.to_bytes(2, "little"), r"contradicts itself|is not audio")
    for form in ("WAV", "WAVEX")
    for place, value in ((24, 8000 ^ 1 << 14), (22, 3), (28, 0), (32, 6), (34, 24))
]


@pytest.mark.parametrize(("form", "place", "value", "message"), HEADERS)
def test_absurd_rates_and_headers_that_contradict_themselves(wav, form, place, value, message):
    soundfile.write(wav, NOISE, 8000, format=form)
    decode(wav)
    patch(wav, place, value)
    refuses(wav, match=message)


def test_segments(wav):
    whole = decode(wav).samples
    np.testing.assert_array_equal(decode(wav, start=0.25, end=0.5).samples, whole[2000:4000])
    np.testing.assert_array_equal(decode(wav, start=0.75).samples, whole[6000:])
    for start, end in ((0.5, 1.2), (1.5, None)):
        refuses(wav, start=start, end=end, match="it lasts 1 s")


def test_long_files_are_refused_unless_a_segment_is_asked_for(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 16_000, 1) as file:
        for _ in range(11):
            file.write(np.zeros(60 * 16_000))
    refuses(tmp_path / "a.flac", match="lasts 660 s, and an utterance 600 s at most; list its")
    assert decode(tmp_path / "a.flac", start=620, end=621).seconds == 1


def test_blocks_are_bounded_whatever_the_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((500_000, 8)), 16_000)
    sizes = [len(block) for _, block in mono_blocks(tmp_path / "a.wav")]
    assert sum(sizes) == 500_000
    assert max(sizes) * 8 <= 1 << 20


def test_too_little_memory_names_the_file(wav, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    refuses(wav, match=r"a\.wav: needs more memory")


def samples(values: object, form: str = "WAV", subtype: str = "FLOAT") -> Callable[[Path], None]:
    array = np.asarray(values, np.float32)
    return lambda path: soundfile.write(path, array, 8000, format=form, subtype=subtype)


def endless_header(path: Path) -> None:
    path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE")
    os.truncate(path, 1 << 40)


def two_streams(path: Path) -> None:
    content = b""
    for _ in range(2):  # each has a number of its own
        samples(NOISE, "OGG", "VORBIS")(path)
        content += path.read_bytes()
    path.write_bytes(content)


def one_stream_twice(path: Path) -> None:
    samples(NOISE, "OGG", "VORBIS")(path)
    path.write_bytes(2 * path.read_bytes())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no audio at all" * 9), "is not audio"),
        (lambda path: None, "No such file"),
        (os.mkfifo, "is not a file"),
        (Path.mkdir, "is not a file"),
        (endless_header, "1000 chunks, and none has samples"),
        (two_streams, "or another follows, which is not read"),
        (one_stream_twice, "or another follows, which is not read"),
        (samples([]), "no samples"),
        (samples([0.0, np.nan]), "NaN"),
        (samples([np.inf, 0.0]), "infinite"),
        (samples([0.0, 1e20]), "samples of 1e.20, where full scale is 1"),
        (samples(NOISE[:80, :1].repeat(65, 1)), "declares 65 channels; at most 64 are read"),
        (samples(NOISE[:, :1] * [1, -1]), "channels that cancel each other; keep one of them"),
        (samples(NOISE, "IRCAM", "PCM_16"), "which is not read; convert it to WAV or FLAC"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, make, reason):
    make(tmp_path / "a.wav")
    refuses(tmp_path / "a.wav", match=reason)


def test_one_sample_cannot_always_be_resampled(tmp_path):
    write_tone(tmp_path / "a.wav", rate=48000, seconds=1 / 48000)
    refuses(tmp_path / "a.wav", rate=100, match="too few samples")
