"""Frames of 25 ms every 10 ms: log-mel, MFCC, level, loudness and spectral shape.

torchaudio is imported here even where its compiled part does not load. Its wheels on the package
index are linked against CUDA: beside the CPU build of torch, `import torchaudio` fails with
"libc10_cuda.so: cannot open shared object file", although the functions used here are plain
PyTorch. A stub in place of the loader of the compiled part lets the rest be imported. Where
torchaudio imports by itself, nothing is touched.
"""

from __future__ import annotations

import functools
import importlib
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from clser_bench.errors import FeatureError
from clser_bench.features.columns import ACOUSTIC_PARAMETERS, BANDS, CEPSTRA, RATE

FRAME = round(RATE * float(ACOUSTIC_PARAMETERS["frame_seconds"]))
HOP = round(RATE * float(ACOUSTIC_PARAMETERS["hop_seconds"]))
SIZE = 512
"""Points of the Fourier transform: the next power of two above a frame."""

FLOOR = 10 ** (float(ACOUSTIC_PARAMETERS["floor_db"]) / 10)
RANGE = 10 ** (-float(ACOUSTIC_PARAMETERS["range_db"]) / 10)


@dataclass(frozen=True, kw_only=True)
class _Constants:
    """What depends on the parameters only."""

    window: Tensor  # [FRAME]
    bands: Tensor  # [bins, BANDS]
    cosines: Tensor  # [BANDS, CEPSTRA]
    kilohertz: Tensor  # [bins]


@functools.cache
def _constants() -> _Constants:
    tools = load_torchaudio().functional
    bins = SIZE // 2 + 1
    return _Constants(
        window=torch.hann_window(FRAME),
        bands=tools.melscale_fbanks(
            bins,
            float(ACOUSTIC_PARAMETERS["band_low_hz"]),
            float(ACOUSTIC_PARAMETERS["band_high_hz"]),
            BANDS,
            RATE,
        ),
        cosines=tools.create_dct(CEPSTRA, BANDS, "ortho"),
        kilohertz=torch.linspace(0, RATE / 2000, bins),
    )


def power(samples: Tensor) -> Tensor:
    """The short-time power spectrum, scaled so that a frame's bins add up to its mean square.

    Frame i is centred at `FRAME / 2 + i * HOP` samples.

    Args:
        samples: float32 [samples] at 16 kHz, at least one frame long.

    Returns:
        [m, bins], full scale 1.
    """
    constants = _constants()
    margin = (SIZE - FRAME) // 2
    spectrum: Tensor = load_torchaudio().functional.spectrogram(
        samples,
        pad=margin,
        window=constants.window,
        n_fft=SIZE,
        hop_length=HOP,
        win_length=FRAME,
        power=2.0,
        normalized=False,
        center=False,
    )
    scale = torch.full((SIZE // 2 + 1, 1), 2.0)
    scale[0] = scale[-1] = 1.0
    energy = constants.window.square().sum() * SIZE
    return (spectrum * (scale / energy)).T.contiguous()


def decibel(values: Tensor, *, floor: float | Tensor = FLOOR) -> Tensor:
    """`10 log10`, not below the floor (-100 dB by default).

    Args:
        values: powers, any shape.
        floor: power, above 0.
    """
    least = torch.as_tensor(floor, dtype=values.dtype)
    return 10 * torch.log10(torch.maximum(values, least))


def mel_columns(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-mel, MFCC and loudness.

    Args:
        spectrum: [m, bins] from `power`.

    Returns:
        Log-mel [m, 26] in dB, at most 80 dB below the utterance's highest (digital silence
        would otherwise outweigh speech); MFCC [m, 13]; loudness [m, 1].
    """
    constants = _constants()
    bands = spectrum @ constants.bands
    log_mel = decibel(bands, floor=torch.clamp(bands.max() * RANGE, min=FLOOR))
    loudness = bands.pow(float(ACOUSTIC_PARAMETERS["loudness_exponent"])).sum(1, keepdim=True)
    return log_mel, log_mel @ constants.cosines, loudness


def level(spectrum: Tensor) -> Tensor:
    """Root mean square of the windowed frame, dB re full scale [m, 1]."""
    return decibel(spectrum.sum(1, keepdim=True))


def shape_columns(spectrum: Tensor) -> Tensor:
    """The columns `SHAPE`, in that order.

    Args:
        spectrum: [m, bins] from `power`.

    Returns:
        [m, 9]; finite for silence.
    """
    kilohertz = _constants().kilohertz
    # A floor far below the quantisation noise of 16 bits: silence counts as white.
    floored = spectrum + FLOOR / SIZE
    share = floored / floored.sum(1, keepdim=True)
    centroid = share @ kilohertz
    spread = (share * (kilohertz - centroid[:, None]).square()).sum(1).sqrt()
    # Rounding may leave the sum below the share; the last bin is then the answer.
    below = (share.cumsum(1) < float(ACOUSTIC_PARAMETERS["rolloff_share"])).sum(1)
    rolloff = kilohertz[below.clamp(max=len(kilohertz) - 1)]
    log_power = decibel(floored, floor=FLOOR / SIZE)
    columns = [centroid, spread, rolloff, *_tilt(floored, log_power), _flux(floored)]
    flatness = log_power.mean(1) - decibel(floored.mean(1), floor=FLOOR / SIZE)
    return torch.stack([*columns, flatness], dim=1)


def _tilt(spectrum: Tensor, log_power: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two slopes, alpha ratio, Hammarberg index: each [m]."""
    low = _between(spectrum, 0.05, 1.0).sum(1)
    high = _between(spectrum, 1.0, 5.0).sum(1)
    alpha = decibel(low, floor=FLOOR / SIZE) - decibel(high, floor=FLOOR / SIZE)
    hammarberg = _between(log_power, 0.0, 2.0).amax(1) - _between(log_power, 2.0, 5.0).amax(1)
    return _slope(log_power, 0.0, 0.5), _slope(log_power, 0.5, 1.5), alpha, hammarberg


def _between(columns: Tensor, low: float, high: float) -> Tensor:
    """The bins from `low` up to, not including, `high` kHz."""
    bins = _constants().kilohertz
    return columns[:, (bins >= low) & (bins < high)]


def _slope(log_power: Tensor, low: float, high: float) -> Tensor:
    """Least-squares slope over the bins of a range, dB/kHz [m]."""
    kilohertz = _between(_constants().kilohertz[None], low, high)[0]
    centred = kilohertz - kilohertz.mean()
    return _between(log_power, low, high) @ (centred / centred.square().sum())


def _flux(spectrum: Tensor) -> Tensor:
    """Distance of successive magnitude spectra of length one [m]; 0 for the first."""
    magnitude = spectrum.sqrt()
    unit = magnitude / magnitude.square().sum(1, keepdim=True).sqrt()
    flux = torch.zeros(len(unit))
    flux[1:] = (unit[1:] - unit[:-1]).square().sum(1).sqrt()
    return flux


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
