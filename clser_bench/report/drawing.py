"""Pictures: what all share (colours, names, a style, files), and those of features.

Colours are Tol's scheme `bright` with black, which the colour-blind tell apart
(https://sronpersonalpages.nl/~pault); an emotion has the same in every figure.

Features are shown by where utterances lie, and by how pitch, loudness and rate are spread.
Utterances are brought into a plane by PCA, which keeps distances as well as two straight axes can,
or by t-SNE (van der Maaten & Hinton, JMLR 2008) or UMAP (McInnes, Healy & Melville, 2018), which
keep neighbours: how far groups lie apart, and how wide they are, means nothing in them.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, TypeVar

import matplotlib as mpl
import matplotlib.style as mpl_style
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D

from clser_bench.errors import FeatureError, SpecError, did_you_mean
from clser_bench.hashing import seed_of
from clser_bench.protocol import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


By = Literal["emotion", "speaker", "corpus"]
Doubles = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
_MARKERS = "o^sDvPX*<>"
_LINE = 56  # characters of a line of a title
_NAMED = 24  # groups that a legend names
_LAYERS = 8  # corpora are drawn by turns in this many, so that none hides another
_LEAST = 8  # utterances that make a violin; fewer are shown as points

PROJECTIONS = ("pca", "tsne", "umap")
"""The projections there are."""

LEAST = 5
"""Utterances that t-SNE and UMAP need."""

_PERPLEXITY = 30.0
_NEIGHBOURS = 15
_FIRST = 50  # principal components that t-SNE and UMAP start from, as is usual
_SPREAD = 1e-4  # deviation of t-SNE's first layout, as scikit-learn's own from PCA


class Projection(NamedTuple):
    """Points of a plane [n, 2], and the share of the variance along each axis (0 to 1).

    The shares are None where axes mean nothing (t-SNE, UMAP).
    """

    points: Doubles
    explained: tuple[float, float] | None = None


def check_projection(how: str) -> None:
    """Raise FeatureError for a projection that is unknown, or whose package is not installed."""
    if how not in PROJECTIONS:
        raise FeatureError(f"projection '{how}' is unknown{did_you_mean(how, PROJECTIONS)}")
    if how == "umap":
        _umap()


def project(values: npt.NDArray[np.floating[Any]], how: str = "pca") -> Projection:
    """Bring rows into a plane; the same rows always come to the same place.

    Args:
        values: [n, f]; columns should have one scale (see `standardised`).

    Raises:
        FeatureError: the projection is unknown or not installed, there are too few rows, or a
            value is not finite.
    """
    check_projection(how)
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise FeatureError(f"values to project must be [n, f] and not empty, got {rows.shape}")
    if not np.isfinite(rows).all():
        where = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise FeatureError(f"row {where} of the values to project is not finite; extract it again")
    if how == "pca":
        components, shares = _principal(rows, 2)
        points = np.pad(components, ((0, 0), (0, 2 - components.shape[1])))
        return Projection(points, explained=(*shares.tolist(), 0.0, 0.0)[:2])
    if len(rows) < LEAST:
        raise FeatureError(
            f"projection '{how}' needs {LEAST} utterances or more, got {len(rows)}; take pca"
        )
    components, _ = _principal(rows, _FIRST)
    seed = seed_of("projection", how) % 2**32
    if how == "umap":
        # with a seed umap uses one thread, and warns unless n_jobs says so
        neighbours = min(_NEIGHBOURS, len(rows) - 1)
        model = _umap().UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    else:
        from sklearn.manifold import TSNE  # noqa: PLC0415 (slow to import)

        start = np.zeros((len(rows), 2), np.float32)
        start[:, : components.shape[1]] = components[:, :2]
        deviation = float(start[:, 0].std())
        start *= _SPREAD / deviation if deviation > 0 else 0.0
        near = min(_PERPLEXITY, (len(rows) - 1) / 3)
        model = TSNE(perplexity=near, init=start, learning_rate="auto", random_state=seed)
    return Projection(np.asarray(model.fit_transform(components), np.float64))


def standardised(values: npt.NDArray[np.floating[Any]]) -> Doubles:
    """Z-scores of each column of [n, f], so that no unit decides; constant columns become 0."""
    rows = np.asarray(values, np.float64)
    centred = rows - rows.mean(axis=0)
    deviation = centred.std(axis=0)
    # rounding leaves a constant column a deviation that is tiny beside its values
    constant = deviation <= 1e-12 * np.abs(rows).max(axis=0, initial=0.0)
    scores: Doubles = np.where(constant, 0.0, centred / np.where(constant, 1.0, deviation))
    return scores


def _principal(rows: Doubles, count: int) -> tuple[Doubles, Doubles]:
    """The first principal components [n, m ≤ count] and their shares of the variance [m].

    The sign of a component is arbitrary: its largest loading is made positive.
    """
    left, sizes, right = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    left, right = left[:, :count], right[:count]
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    total = np.square(sizes).sum()
    shares = np.square(sizes[:count]) / (total if total > 0 else 1.0)
    return left * sizes[:count] * np.where(signs == 0, 1.0, signs), shares


def _umap() -> ModuleType:
    try:
        return importlib.import_module("umap")
    except ImportError as error:
        raise FeatureError(
            "projection 'umap' needs the package umap-learn, which is not installed: "
            "pip install umap-learn, or take pca or tsne"
        ) from error


@in_style
def draw_projection(
    corpora: Sequence[Speech],
    points: Sequence[Doubles],
    *,
    by: By,
    title: str,
    axes: tuple[str, str] = ("", ""),
) -> Figure:
    """Draw utterances as points; large ones, where axes are named, are means of colour and corpus.

    Args:
        points: for each corpus [n, 2].
        by: what the colours stand for; where there are several corpora, markers stand for them.
        axes: what the axes are; empty for axes whose numbers mean nothing, which have none.
    """
    sizes = [len(one.emotions) for one in corpora]
    at, xy = np.repeat(np.arange(len(corpora)), sizes), np.concatenate(points)
    names, colours, group = _groups(corpora, at, by)
    counts = np.bincount(group, minlength=len(names))
    firsts = np.zeros(len(names), int) if by == "emotion" else at[np.unique(group, True)[1]]
    entries = [
        _entry(f"{name} ({count})", colour, _marker(corpus))
        for name, count, colour, corpus in zip(names, counts, colours, firsts, strict=True)
    ][:_NAMED]
    if len(names) > _NAMED:
        entries.append(_entry(f"and {len(names) - _NAMED} more", "none", ""))
    legends: dict[str, list[Line2D]] = {by: entries}
    if len(corpora) > 1 and by != "corpus":
        texts = [f"{one.name} ({size})" for one, size in zip(corpora, sizes, strict=True)]
        markers = [_entry(text, "#666666", _marker(place)) for place, text in enumerate(texts)]
        legends = {"corpus": markers} | legends
    longest = [max(len(str(one.get_label())) for one in found) for found in legends.values()]
    # as many columns of a legend as fit a column of a paper
    columns = [max(1, min(4, 72 // (letters + 6))) for letters in longest]
    shown = zip(legends.values(), columns, strict=True)
    heights = [0.13 * (1 + math.ceil(len(found) / across)) for found, across in shown]
    figure = new_figure(COLUMN, 3.5 + sum(heights))
    ratios = {"height_ratios": [3.2, *heights]}
    axis, *below = figure.subplots(1 + len(legends), 1, squeeze=False, gridspec_kw=ratios).ravel()
    for box, (heading, handles), across in zip(below, legends.items(), columns, strict=True):
        box.set_axis_off()
        own = {"handles": handles, "title": heading, "ncols": across}
        gaps = {"borderpad": 0, "labelspacing": 0.25, "columnspacing": 0.9, "handletextpad": 0.1}
        box.legend(loc="center", frameon=False, **own, **gaps)
    inks = np.array([mpl.colors.to_rgba(colour) for colour in colours])
    for layer in range(_LAYERS):
        for corpus in range(len(corpora)):
            rows = np.flatnonzero(at == corpus)[layer::_LAYERS]
            look: dict[str, Any] = {"marker": _marker(corpus), "linewidths": 0, "alpha": 0.55}
            axis.scatter(*xy[rows].T, c=inks[group[rows]], s=8, **look)
    places = sorted(set(zip(at.tolist(), group.tolist(), strict=True)))
    for corpus, place in places if any(axes) else ():  # else distances mean nothing, nor a mean
        middle = xy[(at == corpus) & (group == place)].mean(axis=0)
        look = {"marker": _marker(corpus), "linewidths": 0.8, "edgecolors": "white", "zorder": 3}
        axis.scatter(*middle, color=colours[place], s=42, **look)
    above = [""]
    for one in corpora:
        part = f"{above[-1]}, {one.name}".removeprefix(", ")
        if len(part) <= _LINE or not above[-1]:
            above[-1] = part
        else:
            above.append(one.name)
    title = f"{plain(title, longest=_LINE)}, n = {len(xy)}"
    axis.set_title("\n".join([*above, title]))
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_xlabel(plain(axes[0], longest=_LINE))
    axis.set_ylabel(plain(axes[1], longest=_LINE))
    if not any(axes):
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


@in_style
def draw_distributions(
    corpora: Sequence[Speech], values: Sequence[Doubles], *, measures: Sequence[str]
) -> Figure:
    """Draw how measures are spread in each emotion: a row a measure, a column a corpus.

    A violin is a density estimate (Gaussian, Scott's rule) cut off at the extremes, as wide for
    few utterances as for many; the dot is the median, the bar holds the middle half.

    Args:
        values: for each corpus [n, m].
        measures: the name of each column, with its unit [m].
    """
    emotions = [name for name in EMOTIONS if any(name in speech.emotions for speech in corpora)]
    width = max(COLUMN, 0.6 + 0.17 * len(corpora) * len(emotions))
    figure = new_figure(width, 1.0 + 1.15 * len(measures))
    axes = figure.subplots(len(measures), len(corpora), squeeze=False, sharex="col", sharey="row")
    for column, (speech, table) in enumerate(zip(corpora, values, strict=True)):
        spoken = np.array(speech.emotions)
        axes[0, column].set_title(f"{speech.name}\nn = {len(table)}")
        for row in range(len(measures)):
            for place, emotion in enumerate(emotions):
                _violin(axes[row, column], place, table[spoken == emotion, row], emotion)
            axes[row, column].grid(axis="y", linewidth=0.3, alpha=0.6)
            axes[row, column].spines[["top", "right"]].set_visible(False)
        counts = [f"{emotion} ({np.sum(spoken == emotion)})" for emotion in emotions]
        axes[-1, column].set_xticks(range(len(emotions)), counts, rotation=90)
        axes[-1, column].set_xlim(-0.7, len(emotions) - 0.3)
    for row, measure in enumerate(measures):
        axes[row, 0].set_ylabel(measure.replace("$", r"\$"))
    figure.align_ylabels(axes[:, 0])
    return figure


def _groups(corpora: Sequence[Speech], at: Rows, by: By) -> tuple[list[str], list[Any], Rows]:
    """Names and colours in the order of the legend, and the place of each utterance's [n]."""
    texts = {
        "emotion": [emotion for one in corpora for emotion in one.emotions],
        "speaker": [name for one in corpora for name in one.speakers],
        "corpus": [corpora[corpus].name for corpus in at],
    }
    owners = np.zeros_like(at) if by == "emotion" else at
    labels = list(zip(owners.tolist(), texts[by], strict=True))
    order = sorted(set(labels))
    names = [label if by == "corpus" else plain(label) for _, label in order]
    if by == "speaker" and len(corpora) > 1:
        names = [f"{corpora[of].name} {name}" for (of, _), name in zip(order, names, strict=True)]
    if by == "emotion":
        colours: list[Any] = [EMOTION_COLOURS[emotion] for _, emotion in order]
    elif len(order) <= len(COLOURS):
        colours = list(COLOURS[: len(order)])
    else:  # the light end is left out: it vanishes on paper
        colours = list(mpl.colormaps["viridis"](np.linspace(0.0, 0.93, len(order))))
    places = {label: place for place, label in enumerate(order)}
    return names, colours, np.array([places[label] for label in labels], np.int64)


def _entry(label: str, colour: Any, marker: str) -> Line2D:
    # matplotlib before 3.10 leaves out what begins with an underscore
    shown = f" {label}" if label.startswith("_") else label
    return Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=4, label=shown)


def _marker(corpus: int) -> str:
    return _MARKERS[corpus % len(_MARKERS)]


def _violin(axis: Axes, place: int, values: Doubles, emotion: str) -> None:
    if not len(values):
        return
    colour = EMOTION_COLOURS[emotion]
    if len(values) < _LEAST or np.ptp(values) == 0:
        axis.scatter(np.full(len(values), place), values, color=colour, s=5, linewidths=0)
        return
    drawn: Any = axis.violinplot(values, [place], widths=0.85, showextrema=False)
    drawn["bodies"][0].set(facecolor=colour, edgecolor="none", alpha=0.75)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    for ink, width in (("white", 2.2), ("#333333", 1.0)):  # seen on light and dark violins
        axis.plot([place, place], [low, high], color=ink, linewidth=width, solid_capstyle="butt")
    axis.scatter(place, middle, s=6, color="white", edgecolors="#333333", linewidths=0.5, zorder=3)
