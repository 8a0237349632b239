"""Decoding: right samples, and every kind of broken file told apart."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clser_bench.corpora.audio import Audio, content_hash, decode, mono_blocks
from clser_bench.errors import AudioError
from tests.fake_corpora import write_tone


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))


def refuses(path: Path, *, match: str, **how: float) -> None:
    with pytest.raises(AudioError, match=match):
        decode(path, **how)  # type: ignore[arg-type]


def patch(path: Path, places: dict[int, bytes]) -> None:
    """Write other bytes at some places of a file."""
    content = bytearray(path.read_bytes())
    for place, new in places.items():
        content[place : place + len(new)] = new
    path.write_bytes(content)


def test_channels_are_averaged(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 8000, subtype="FLOAT")
    audio = decode(tmp_path / "a.wav")
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, noise.mean(axis=1), atol=1e-7)
    assert (audio.rate, audio.seconds) == (8000, 1.0)
    assert not audio.samples.flags.writeable


def test_resampling_keeps_a_tone(tmp_path):
    time = np.arange(48000) / 48000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 48000)
    audio = decode(tmp_path / "a.wav", rate=16000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert audio.rate == 16000
    np.testing.assert_allclose(audio.samples[500:-500], wanted[500:-500], atol=1e-3)


def test_wav_and_flac_have_the_same_hash(tmp_path, noise):
    samples = (noise[:, 0] * 2**15).astype(np.int16)
    for name, rate in (("a.wav", 8000), ("a.flac", 8000), ("b.wav", 16000)):
        soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")
    wav, flac, faster = (content_hash(decode(tmp_path / n)) for n in ("a.wav", "a.flac", "b.wav"))
    assert wav == flac != faster
    assert len(wav) == 64


def test_the_hash_by_hand():
    """Feature caches and row order hang on it, so it must never change."""
    audio = Audio(np.array([0, 0.5, -1], np.float32), 8000)
    wanted = hashlib.sha256(b"8000\n" + bytes.fromhex("00000000 0000003f 000080bf"))
    assert content_hash(audio) == wanted.hexdigest()


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.99, 0.9999])
def test_truncated(tmp_path, noise, name, share):
    soundfile.write(tmp_path / name, noise, 8000)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    refuses(tmp_path / name, match="truncated")


CONTAINERS = dict.fromkeys(
    ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "RIFX", "FLAC"], "PCM_16"
)
CONTAINERS |= {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


@pytest.mark.parametrize("form", CONTAINERS)
def test_cut_files_of_every_container(tmp_path, noise, form):
    path = tmp_path / "a"
    name, endian = ("WAV", "BIG") if form == "RIFX" else (form, None)
    soundfile.write(path, noise, 8000, format=name, subtype=CONTAINERS[form], endian=endian)
    assert decode(path).seconds == pytest.approx(1, abs=0.1)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    refuses(path, match="truncated")


def test_containers_without_a_length_are_not_read(tmp_path, noise):
    soundfile.write(tmp_path / "a", noise, 8000, format="IRCAM", subtype="PCM_16")
    refuses(tmp_path / "a", match="which is not read; convert it to WAV or FLAC")


@pytest.mark.parametrize(("riff", "data"), [(0x7FFFF024, 0x7FFFF000), (2**32 - 1, 2**32 - 1)])
def test_wav_of_open_length_is_read(tmp_path, noise, riff, data):
    """As SoX and ffmpeg write into a pipe."""
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    start = (tmp_path / "a.wav").read_bytes().index(b"data") + 4
    patch(tmp_path / "a.wav", {4: riff.to_bytes(4, "little"), start: data.to_bytes(4, "little")})
    assert len(decode(tmp_path / "a.wav").samples) == 8000


def test_flac_of_open_length_is_read(tmp_path, noise):
    """As encoders write into a pipe: no number of samples."""
    soundfile.write(tmp_path / "a.flac", noise, 8000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "b.flac").write_bytes(content)
    patch(tmp_path / "b.flac", {21: bytes([content[21] & 0xF0, 0, 0, 0, 0])})
    whole, part = decode(tmp_path / "a.flac"), decode(tmp_path / "b.flac", start=0.25, end=0.5)
    np.testing.assert_array_equal(decode(tmp_path / "b.flac").samples, whole.samples)
    np.testing.assert_array_equal(part.samples, whole.samples[2000:4000])
    half = (tmp_path / "b.flac").read_bytes()[: len(content) // 2]
    (tmp_path / "b.flac").write_bytes(half)
    refuses(tmp_path / "b.flac", match="truncated")


@pytest.mark.parametrize("size", [0, 2000])
def test_samples_that_the_header_does_not_count(tmp_path, noise, size):
    """Of a recorder that was killed; chunks behind the samples are no such thing."""
    soundfile.write(tmp_path / "a.wav", noise[:, 0], 8000)
    content = (tmp_path / "a.wav").read_bytes()
    behind = b"cart" + (40_000).to_bytes(4, "little") + bytes(40_000)
    (tmp_path / "b.wav").write_bytes(content + behind)
    assert decode(tmp_path / "b.wav").seconds == 1
    patch(tmp_path / "a.wav", {content.index(b"data") + 4: size.to_bytes(4, "little")})
    refuses(tmp_path / "a.wav", match=f"bytes behind the {size} bytes of samples")


def test_a_second_ogg_stream_is_not_left_out_unsaid(tmp_path, noise):
    for name in ("a.ogg", "b.ogg"):
        soundfile.write(tmp_path / name, noise, 8000, format="OGG", subtype="VORBIS")
    second = (tmp_path / "b.ogg").read_bytes()
    with (tmp_path / "a.ogg").open("ab") as stream:
        stream.write(second)
    refuses(tmp_path / "a.ogg", match="or another follows, which is not read")


def test_channels_that_cancel_each_other(tmp_path, noise):
    left = noise[:, 0]
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], 1), 8000)
    refuses(tmp_path / "a.wav", match="channels that cancel each other; keep one of them")
    soundfile.write(tmp_path / "a.wav", np.stack([left, 0 * left], 1), 8000)
    assert decode(tmp_path / "a.wav").seconds == 1


def test_a_header_without_end(tmp_path):
    with (tmp_path / "a.wav").open("wb") as stream:
        stream.write(b"RIFF\xff\xff\xff\xffWAVE")
        stream.truncate(1 << 40)
    refuses(tmp_path / "a.wav", match="1000 chunks, and none has samples")


@pytest.mark.parametrize("rate", [1, 10, 3999, 192_001, 67_124_864])
def test_absurd_rates(tmp_path, noise, rate):
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    patch(tmp_path / "a.wav", {24: rate.to_bytes(4, "little")})
    refuses(tmp_path / "a.wav", match=f"declares {rate} Hz; 4000 to 192000 Hz are read")


@pytest.mark.parametrize(
    ("place", "value"),
    [(24, 8000 ^ 1 << 14), (22, 3), (28, 0), (32, 6), (34, 24)],
    ids=["rate", "channels", "bytes a second", "bytes a frame", "bits"],
)
@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
def test_a_header_that_contradicts_itself(tmp_path, noise, kind, *, place, value):
    soundfile.write(tmp_path / "a.wav", noise, 8000, format=kind)
    decode(tmp_path / "a.wav")
    patch(tmp_path / "a.wav", {place: value.to_bytes(2, "little")})
    refuses(tmp_path / "a.wav", match=r"contradicts itself|is not audio")


def test_more_channels_than_microphones(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", np.tile(noise[:80, :1], 65), 8000)
    refuses(tmp_path / "a.wav", match="declares 65 channels; at most 64 are read")


def test_segments(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    whole = decode(tmp_path / "a.wav").samples
    part = decode(tmp_path / "a.wav", start=0.25, end=0.5)
    np.testing.assert_array_equal(part.samples, whole[2000:4000])
    np.testing.assert_array_equal(decode(tmp_path / "a.wav", start=0.75).samples, whole[6000:])
    for start, end in ((0.5, 1.2), (1.5, None)):
        refuses(tmp_path / "a.wav", start=start, end=end, match="it lasts 1 s")


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


def test_too_little_memory_names_the_file(tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    write_tone(tmp_path / "a.wav")
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    refuses(tmp_path / "a.wav", match=r"a\.wav: needs more memory")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(b"no audio at all" * 9), "is not audio"),
        (lambda path: None, "No such file"),
        (os.mkfifo, "is not a file"),
        (Path.mkdir, "is not a file"),
    ],
)
def test_no_audio(tmp_path, make, reason):
    path = tmp_path / "a.wav"
    make(path)
    with pytest.raises(AudioError, match=reason) as caught:
        decode(path)
    assert caught.value.path == str(path)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        ([], "no samples"),
        ([0.0, np.nan], "NaN"),
        ([np.inf, 0.0], "infinite"),
        ([0.0, 1e20], "samples of 1e.20, where full scale is 1"),
    ],
)
def test_unusable_samples(tmp_path, samples, reason):
    soundfile.write(tmp_path / "a.wav", np.array(samples, np.float32), 8000, subtype="FLOAT")
    refuses(tmp_path / "a.wav", match=reason)


def test_one_sample_cannot_always_be_resampled(tmp_path):
    write_tone(tmp_path / "a.wav", rate=48000, seconds=1 / 48000)
    refuses(tmp_path / "a.wav", rate=100, match="too few samples")
