"""`features plot`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars
from clser_bench.protocol import DEFAULT_FEATURES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from clser_bench.corpora.model import Corpus
    from clser_bench.features.projection import Projection
    from clser_bench.features.sets import FeatureSet
    from clser_bench.problem import Table
    from clser_bench.report.drawing import Speech

    Doubles = npt.NDArray[np.float64]

MEASURES = {
    "mean_pitch": "pitch\n(octaves above 160 Hz)",
    "mean_loudness": "loudness\n(Stevens' law, no unit)",
    "peak_rate": "speaking rate\n(peaks of loudness/s)",
}
"""The columns of `acoustic` whose distributions are drawn, and what they are."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """With what features are extracted: the cache folder, threads, and who shows progress."""

    cache: Path
    workers: int | None
    bars: Bars


class By(enum.StrEnum):
    """What colours stand for."""

    emotion = "emotion"
    speaker = "speaker"
    corpus = "corpus"


class Normalise(enum.StrEnum):
    """Whose statistics the z-scores use."""

    none = "none"
    corpus = "corpus"
    speaker = "speaker"


class How(enum.StrEnum):
    """How summaries come into a plane."""

    pca = "pca"
    tsne = "tsne"
    umap = "umap"


_TITLES = {How.pca: "PCA", How.tsne: "t-SNE", How.umap: "UMAP"}


@options.examples(
    "clser-bench features plot B O --corpora ~/corpora",
    "clser-bench features plot emodb emovo --by corpus --normalise none --out overlap.svg",
    "clser-bench features plot DE IT --projection tsne",
)
def plot(
    chosen: Annotated[
        list[str],
        typer.Argument(metavar="CORPORA...", help="Codes or names of `list corpora`."),
    ],
    *,
    by: Annotated[By, typer.Option(help="What the colours stand for.")] = By.emotion,
    features: options.Features = DEFAULT_FEATURES,
    normalise: Annotated[
        Normalise, typer.Option(help="Whose z-scores of the summaries are projected.")
    ] = Normalise.corpus,
    projection: Annotated[How, typer.Option(help="umap needs the package umap-learn.")] = How.pca,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .png, .svg or .pdf; else features-CODES-BY.png in this folder. The second "
            "figure goes beside it, under the same name with -distributions.",
        ),
    ] = None,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    manifest: options.Manifest = None,
    workers: options.Workers = None,
    skip_bad: options.SkipBad = False,
) -> None:
    """Draw where utterances lie, and how they sound.

    Two figures: the summaries in a plane, a point an utterance; and pitch, loudness and speaking
    rate in each emotion (of `acoustic`, before normalisation). Prints the files written. What
    t-SNE and UMAP show is neighbours: how far groups lie apart means nothing there.
    """
    import functools

    from clser_bench.corpora.locate import load_corpora
    from clser_bench.demo import demo_corpora
    from clser_bench.features.projection import check
    from clser_bench.features.sets import feature_set
    from clser_bench.files import cache_folder

    check(projection.value)
    chosen_set = feature_set(features)
    chosen_set.check()
    if out is not None:
        _check_out(out)
    with Bars() as bars:
        means = Means(cache=cache_folder(), workers=workers, bars=bars)
        found = list(
            load_corpora(
                corpora,
                manifest or (),
                codes=chosen,
                demo=functools.partial(demo_corpora, cache_folder() / "demo", progress=bars),
                skip_bad=skip_bad,
                workers=workers,
                progress=bars,
            ).values()
        )
        made = _project(found, chosen_set, normalise, projection, means)
        measured = _measure(found, means)
    codes = "-".join(corpus.spec.code for corpus in found)
    whose = "over all" if normalise is Normalise.none else f"by {normalise.value}"
    _draw(
        found,
        made,
        measured,
        by=by,
        # the name last: that of an encoder is long, and a title is cut at its end
        about=(_TITLES[projection], f"z-scores {whose}", chosen_set.name),
        out=out or Path(f"features-{codes}-{by.value}.png"),
    )


def _check_out(path: Path) -> None:
    """Refuse a place before the work, not after it."""
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report.drawing import FORMATS

    kind = _kind(path)
    if kind not in FORMATS:
        raise SpecError(f"{path}: a figure cannot be a '{kind}'{did_you_mean(kind, FORMATS)}")
    if not path.parent.is_dir():
        raise SpecError(f"{path}: there is no folder {path.parent}; make it first")


def _kind(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def _project(
    found: Sequence[Corpus],
    features: FeatureSet,
    normalise: Normalise,
    how: How,
    means: Means,
) -> Projection:
    """The summaries of all corpora, in one plane."""
    import numpy as np

    from clser_bench.features.normalise import normalised
    from clser_bench.features.projection import project, standardised

    parts = []
    for corpus in found:
        raw = _table(corpus, features, means)
        table = normalised(raw, how=normalise.value, speakers=corpus.speakers, cache=means.cache)
        parts.append(np.asarray(table.summary, np.float64))
    values = np.concatenate(parts)
    if normalise is Normalise.none:
        values = standardised(values)
    means.bars.start(_TITLES[how], len(values))
    made = project(values, how.value)
    means.bars.stop()
    return made


def _measure(found: Sequence[Corpus], means: Means) -> list[Doubles]:
    """For each corpus the columns of `MEASURES`, in their own units [n, m]."""
    import numpy as np

    from clser_bench.features.sets import feature_set

    features = feature_set("acoustic")
    columns = [features.summary.index(name) for name in MEASURES]
    return [
        np.asarray(_table(corpus, features, means).summary[:, columns], np.float64)
        for corpus in found
    ]


def _table(corpus: Corpus, features: FeatureSet, means: Means) -> Table:
    from clser_bench.features.extract import feature_table

    return feature_table(
        corpus, features, cache=means.cache, workers=means.workers, progress=means.bars
    )


def _draw(
    found: Sequence[Corpus],
    made: Projection,
    measured: Sequence[Doubles],
    *,
    by: By,
    about: tuple[str, ...],
    out: Path,
) -> None:
    """Draw both figures, write them, and tell where."""
    import numpy as np

    from clser_bench.report.drawing import render
    from clser_bench.report.pictures import draw_distributions, draw_projection

    speech = [_speech(corpus) for corpus in found]
    ends = np.cumsum([len(corpus.utterances) for corpus in found])
    figures = {
        out: draw_projection(
            speech,
            np.split(made.points, ends[:-1]),
            by=by.value,
            title=", ".join(about),
            axes=_axes(made),
        ),
        out.with_stem(f"{out.stem}-distributions"): draw_distributions(
            speech, measured, measures=tuple(MEASURES.values())
        ),
    }
    for path, figure in figures.items():
        _write(path, render(figure, _kind(path)))


def _speech(corpus: Corpus) -> Speech:
    from clser_bench.report.drawing import Speech

    return Speech(
        title=corpus.spec.title,
        emotions=tuple(corpus.emotions.tolist()),
        speakers=tuple(corpus.speakers.tolist()),
        synthetic=corpus.spec.synthetic,
    )


def _axes(made: Projection) -> tuple[str, str]:
    if made.explained is None:
        return "", ""
    first, second = (f"{100 * share:.0f} % of the variance" for share in made.explained)
    return f"component 1: {first}", f"component 2: {second}"


def _write(path: Path, content: bytes) -> None:
    from clser_bench.errors import ClserError

    try:
        path.write_bytes(content)
    except OSError as error:
        raise ClserError(f"{path}: cannot be written ({error.strerror}); choose --out") from error
    typer.echo(str(path))
