"""Decoding: right samples, and every kind of broken file told apart."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import write_tone

from clser_bench.corpora.audio import Audio, content_hash, decode
from clser_bench.errors import AudioError


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (8000, 2))


def test_channels_are_averaged(tmp_path: Path, noise: np.ndarray) -> None:
    soundfile.write(tmp_path / "a.wav", noise, 8000, subtype="FLOAT")
    audio = decode(tmp_path / "a.wav")
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, noise.mean(axis=1), atol=1e-7)
    assert (audio.rate, audio.seconds) == (8000, 1.0)
    assert not audio.samples.flags.writeable


def test_resampling_keeps_a_tone(tmp_path: Path) -> None:
    time = np.arange(48000) / 48000
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 48000)
    audio = decode(tmp_path / "a.wav", rate=16000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert audio.rate == 16000
    np.testing.assert_allclose(audio.samples[500:-500], wanted[500:-500], atol=1e-3)


def test_wav_and_flac_have_the_same_hash(tmp_path: Path, noise: np.ndarray) -> None:
    samples = (noise[:, 0] * 2**15).astype(np.int16)
    for name, rate in (("a.wav", 8000), ("a.flac", 8000), ("b.wav", 16000)):
        soundfile.write(tmp_path / name, samples, rate, subtype="PCM_16")
    wav, flac, faster = (content_hash(decode(tmp_path / n)) for n in ("a.wav", "a.flac", "b.wav"))
    assert wav == flac != faster
    assert len(wav) == 64


def test_the_hash_by_hand() -> None:
    """Feature caches and row order hang on it, so it must never change."""
    audio = Audio(np.array([0, 0.5, -1], np.float32), 8000)
    wanted = hashlib.sha256(b"8000\n" + bytes.fromhex("00000000 0000003f 000080bf"))
    assert content_hash(audio) == wanted.hexdigest()


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.99, 0.9999])
def test_truncated(tmp_path: Path, noise: np.ndarray, name: str, share: float) -> None:
    soundfile.write(tmp_path / name, noise, 8000)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(AudioError, match="truncated"):
        decode(tmp_path / name)


def test_wav_of_open_length_is_read(tmp_path: Path, noise: np.ndarray) -> None:
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    start = data.index(b"data") + 4
    data[4:8] = data[start : start + 4] = b"\xff" * 4  # as a pipe writes it
    (tmp_path / "a.wav").write_bytes(data)
    assert len(decode(tmp_path / "a.wav").samples) == 8000


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "is empty"), (b"no audio at all" * 9, "is not audio"), (None, "No such file")],
)
def test_no_audio(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        decode(path)
    assert caught.value.path == str(path)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is not a file"):
        decode(tmp_path)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [([], "no samples"), ([0.0, np.nan], "NaN"), ([np.inf, 0.0], "infinite")],
)
def test_unusable_samples(tmp_path: Path, samples: list[float], reason: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.array(samples, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=reason):
        decode(tmp_path / "a.wav")


def test_one_sample_cannot_always_be_resampled(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", rate=48000, seconds=1 / 48000)
    with pytest.raises(AudioError, match="too few samples"):
        decode(tmp_path / "a.wav", rate=100)
