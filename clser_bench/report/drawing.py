"""What all pictures share: colours, how names are written, a style, and files.

Colours are Tol's scheme `bright` with black, which the colour-blind tell apart
(https://sronpersonalpages.nl/~pault); an emotion has the same in every figure.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import matplotlib.style as mpl_style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from clser_bench.errors import SpecError, did_you_mean

FORMATS = ("png", "svg", "pdf")
"""What a figure can be written as."""

COLUMN = 3.4
"""Width of a column of a paper, in inches."""

EMOTION_COLOURS = {
    "anger": "#EE6677",
    "boredom": "#BBBBBB",
    "disgust": "#228833",
    "fear": "#AA3377",
    "happiness": "#CCBB44",
    "neutral": "#000000",
    "sadness": "#4477AA",
    "surprise": "#66CCEE",
}
"""Colour of each emotion of `EMOTIONS`, in every figure."""

COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#AA3377", "#66CCEE", "#000000", "#BBBBBB")
"""Colours of what is no emotion, in the order of use."""

_DPI = 300
_FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei",
    "WenQuanYi Zen Hei", "Noto Sans Devanagari", "Arial Unicode MS",
)  # fmt: skip
_STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.title_fontsize": 6,
    "pdf.fonttype": 42,
    "svg.hashsalt": "clser-bench",  # the same figure gives the same bytes
}

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What a figure shows of the utterances of a corpus."""

    title: str  # the corpus's name in prose
    emotions: tuple[str, ...]  # of each utterance [n], of `EMOTIONS`
    speakers: tuple[str, ...]
    synthetic: bool = False  # made by a speech synthesiser; marked in the figure

    @property
    def name(self) -> str:
        """The title as it is shown; it says where speech is synthetic."""
        name = plain(self.title)
        hidden = self.synthetic and "synthetic" not in name.lower()
        return f"{name} (synthetic)" if hidden else name


def plain(text: str, *, longest: int = 28) -> str:
    """Make a name fit to be drawn: as text, in one line, an ellipsis for what is too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    short = line if len(line) <= longest else line[: longest - 1] + "…"
    return short.replace("$", r"\$")


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Let nothing of the user's matplotlibrc (LaTeX, a dark ground) into a figure."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl_style.context(["default", {**_STYLE, "font.family": _families()}]):
            return draw(*args, **kwargs)

    return styled


@functools.cache
def _families() -> list[str]:
    """The font that comes with matplotlib, then installed ones for letters that it lacks."""
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(family for family in _FALLBACKS if family in installed)]


@in_style
def render(figure: Figure, kind: str) -> bytes:
    """Write a figure as the bytes of a file, a format of `FORMATS`; the same gives the same."""
    if kind not in FORMATS:
        raise SpecError(f"a figure cannot be written as '{kind}'{did_you_mean(kind, FORMATS)}")
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, dpi=_DPI, metadata=undated[kind])
    return stream.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure that lays its parts out itself."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
