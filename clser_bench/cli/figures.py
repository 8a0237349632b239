"""`figures`, `embeddings` and `features plot`: commands that draw."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, opened
from clser_bench.errors import ClserError, SpecError, did_you_mean
from clser_bench.files import cache_folder
from clser_bench.hashing import digest
from clser_bench.protocol import CLEAN, DEFAULT_FEATURES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from clser_bench.corpora.model import Corpus
    from clser_bench.protocol import Condition
    from clser_bench.report.drawing import Speech
    from clser_bench.report.table import Leaderboard
    from clser_bench.run.request import Request
    from clser_bench.store.sqlite import Store

_LONGEST = 120  # characters of the name of a file before its hash

MEASURES = {
    "mean_pitch": "pitch\n(octaves above 160 Hz)",
    "mean_loudness": "loudness\n(Stevens' law, no unit)",
    "peak_rate": "speaking rate\n(peaks of loudness/s)",
}
"""The columns of `acoustic` whose distributions are drawn, and what they are."""

Projection = Literal["pca", "tsne", "umap"]
_TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


@options.examples(
    "clser-bench figures",
    "clser-bench figures --suite bcro --shots 5,all --formats svg,pdf --out paper",
    "clser-bench figures --suite bcro --methods sere,coral,logistic --width 7",
)
@options.condition_options(without=("shots",))
def figures(
    former: Annotated[Path | None, typer.Argument(metavar="DIR", hidden=True)] = None,
    *,
    wanted: Mapping[str, str],
    shots: str = "",
    out: Path = Path("figures"),
    methods: options.Methods = "",
    against: str = "",
    formats: options.Figures = "png",
    width: options.Width = 3.4,
    no_title: options.NoTitle = False,
    results: options.Results = options.RESULTS,
) -> None:
    """Draw the tables of a results file.

    For each table a forest plot (differences to the reference with simultaneous intervals) and a
    heat map (methods and pairs); curves where there are several numbers of shots. Prints the
    files written. Needs neither corpora nor methods.

    Options:
        shots K: Only these numbers of shots: a comma list.
        out DIR: The folder; created where absent.
        methods NAMES: Only these: a comma list. Draws their confusion matrices too.
        against METHOD: The reference; logistic where not given.
    """
    from clser_bench.report.table import leaderboard

    kinds, names = figure_kinds(formats), options.words(methods)
    asked = {str(number) for number in options.shots(shots)}
    with opened(results) as store, Bars() as bars:
        frame = store.shown(wanted)
        frame = frame[frame.shots.isin(asked)] if asked else frame
        if not frame.empty:
            bars.start("intervals", 1)
        tables = leaderboard(frame, store, methods=names, against=against)
        if not tables:
            raise SpecError(
                f"{results}: there are no results of these conditions; `clser-bench leaderboard "
                f"--results {results}` shows what there is"
            )
        how = {"width": width, "title": not no_title}
        jobs = list(_jobs(store, frame, tables, names, how))
        bars.start("figures", len(jobs))
        for name, draw in jobs:
            save_all((former or out) / name, kinds, draw())
            bars.advance()


def _jobs(
    store: Store,
    frame: pd.DataFrame,
    tables: Sequence[Leaderboard],
    names: Sequence[str],
    how: Mapping[str, Any],
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Name of each file without its ending, and what draws the figure."""
    from clser_bench.report import figures as draw

    drawn = functools.partial(functools.partial, **how)
    groups: dict[Condition, list[Leaderboard]] = {}
    for table in tables:
        condition = table.condition
        groups.setdefault(condition.replace(shots=1), []).append(table)
        if any(line.difference for line in table.lines if line.role == "ranked"):
            yield file_name("forest", condition), drawn(draw.forest, table)
        yield file_name("heat-map", condition), drawn(draw.heat_map, table)
        if names:
            yield file_name("confusion", condition), drawn(_confusion, store, frame, table)
    for condition, group in groups.items():
        if len(group) > 1:
            known = {line.method for table in group for line in table.lines}
            job = drawn(draw.learning_curves, group, methods=[n for n in names if n in known])
            yield file_name("shots", condition, shots=False), job


def _confusion(
    store: Store, frame: pd.DataFrame, table: Leaderboard, *, width: float, title: bool
) -> Figure:
    from clser_bench.report import figures as draw
    from clser_bench.report.table import rows_of

    lines = {line.method: line.shown for line in table.lines}
    matrices, classes = draw.count_confusions(store, rows_of(frame, table), list(lines))
    about = f"sums over all draws of {len(table.pairs)} pairs"
    heading = draw.heading_of([table], about, width) if title else ""
    return draw.confusion(matrices, classes, list(lines.values()), heading=heading, width=width)


def file_name(about: str, condition: Condition, *, shots: bool = True) -> str:
    """A name made of a condition: lower-case ASCII letters, digits and hyphens.

    Where that leaves something out, a hash of the condition follows, so that no two share one.
    """
    usual = {"corruption": CLEAN, "classes": "shared"}
    values = {
        name: value
        for name, value in condition.texts().items()
        if name != "protocol_version" and (shots or name != "shots") and value != usual.get(name)
    }
    written = [value for value in values.values() if value]
    parts = [re.sub("[^a-z0-9]+", "-", value.lower()).strip("-") for value in written]
    name = "-".join([about, *filter(None, parts)])
    if parts == written and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{digest(values)[:8]}"


def figure_kinds(text: str) -> tuple[str, ...]:
    """Read `--formats`; raises SpecError for what is no format, and where none is named."""
    from clser_bench.report.drawing import FORMATS

    kinds = tuple(dict.fromkeys(options.words(text.lower())))
    for kind in kinds:
        if kind not in FORMATS:
            near = did_you_mean(kind, FORMATS)
            raise SpecError(f"--formats: a figure cannot be a '{kind}'{near}")
    if not kinds:
        raise SpecError(f"--formats is empty; choose of {', '.join(FORMATS)}")
    return kinds


def check_ending(path: Path, option: str) -> None:
    """Raise SpecError, before the work, for a file whose ending names no format of figures."""
    from clser_bench.report.drawing import FORMATS

    if (kind := _kind(path)) not in FORMATS:
        raise SpecError(
            f"{option} {path}: the ending names the format, and a figure cannot be a '{kind}'"
            f"{did_you_mean(kind, FORMATS)}"
        )


def _kind(path: Path) -> str:
    return path.suffix.lower().removeprefix(".")


def save(path: Path, figure: Figure, option: str = "--out") -> Path:
    """Write a figure in the format that its ending names; folders are made."""
    from clser_bench.report.drawing import render

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(render(figure, _kind(path)))
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror}); choose another {option}"
        raise ClserError(message) from error
    return path


def save_all(path: Path, kinds: Sequence[str], figure: Figure) -> None:
    """Write a figure in several formats, and print the files."""
    for kind in kinds:
        typer.echo(str(save(path.with_name(f"{path.name}.{kind}"), figure)))


@options.examples(
    'clser-bench embeddings dann --pair "B->C" --corpora ~/corpora',
    'clser-bench embeddings sere --pair "B->C" --projection tsne --formats png,pdf --out figures',
)
@options.request_options(
    without=("pairs", "methods", "seeds", "corruptions", "skip_bad", "results", *options.MEANS),
    rules=("suite", "features", "alignment", "normalisation"),
)
def embeddings(
    method: Annotated[str, options.argument("trained", autocompletion=options.METHOD_NAMES)],
    *,
    pair: str,
    request: Request,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    projection: Projection = "pca",
    formats: options.Figures = "png",
    out: Path = Path(),
) -> None:
    """Draw what a method's network sees of source and target, before adaptation and after.

    Trains one trial and writes two pictures with emotions as colours and corpora as markers. Labels
    of the target colour the points; the training does not see them.

    Options:
        pair PAIR: Source and target: B->C (quote the >).
        seed N: Number of the draw.
        projection: How the plane is found.
        out DIR: Made where absent.
    """
    import numpy as np

    from clser_bench.report.drawing import draw_projection, project, standardised
    from clser_bench.run.inspection import embeddings as run_embeddings

    kinds = figure_kinds(formats)
    with Bars() as bars:
        asked = request.replace(methods=(method,), pairs=options.pairs(pair))
        sides = run_embeddings(asked, seed, progress=bars, say=complain)
    codes = "-".join(side.corpus.spec.code for side in sides)
    for moment in ("before", "after"):
        values = [getattr(side, moment) for side in sides]
        points = project(standardised(np.concatenate(values)), projection).points
        figure = draw_projection(
            [_speech(side.corpus, side.rows) for side in sides],
            np.split(points, [len(values[0])]),
            by="emotion",
            title=f"{method} {moment} adaptation, {projection}",
            axes=("component 1", "component 2") if projection == "pca" else ("", ""),
        )
        save_all(out / f"embeddings-{method}-{codes}-{moment}", kinds, figure)


@options.examples(
    "clser-bench features plot B O --corpora ~/corpora",
    "clser-bench features plot emodb emovo --by corpus --normalise none --out overlap.svg",
    "clser-bench features plot DE IT --projection tsne",
)
def plot(
    chosen: Annotated[list[str], options.argument("codes", autocompletion=options.CORPUS_CODES)],
    *,
    by: Literal["emotion", "speaker", "corpus"] = "emotion",
    features: options.Features = DEFAULT_FEATURES,
    normalise: Literal["none", "corpus", "speaker"] = "corpus",
    projection: Projection = "pca",
    out: Path | None = None,
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

    Options:
        by: What the colours stand for.
        normalise: Whose z-scores of the summaries are projected.
        projection: umap needs the package umap-learn.
        out FILE: A .png, .svg or .pdf; else features-CODES-BY.png in this folder. The second figure
            goes beside it, under the same name with -distributions.
    """
    import numpy as np

    from clser_bench.corpora.locate import load_corpora
    from clser_bench.demo import demo_corpora
    from clser_bench.features.extract import feature_table
    from clser_bench.features.normalise import normalised
    from clser_bench.features.sets import feature_set
    from clser_bench.report import drawing

    drawing.check_projection(projection)
    chosen_set = feature_set(features)
    chosen_set.check()
    if out is not None:
        check_ending(out, "--out")
        if not out.parent.is_dir():
            raise SpecError(f"{out}: there is no folder {out.parent}; make it first")
    cache = cache_folder()
    with Bars() as bars:
        work: dict[str, Any] = {"workers": workers, "progress": bars}
        demo = functools.partial(demo_corpora, cache / "demo", progress=bars)
        more: dict[str, Any] = {"codes": chosen, "demo": demo, "skip_bad": skip_bad}
        found = list(load_corpora(corpora, manifest or (), **more, **work).values())
        table_of = functools.partial(feature_table, cache=cache, workers=workers, progress=bars)
        how = functools.partial(normalised, how=normalise, cache=cache)
        tables = [how(table_of(one, chosen_set), speakers=one.speakers) for one in found]
        values = np.concatenate([np.asarray(table.summary, np.float64) for table in tables])
        bars.start(_TITLES[projection], len(values))
        scores = drawing.standardised(values) if normalise == "none" else values
        made = drawing.project(scores, projection)
        bars.stop()
        acoustic = feature_set("acoustic")
        columns = [acoustic.summary.index(name) for name in MEASURES]
        whole = [table_of(corpus, acoustic).summary for corpus in found]
        measured = [np.asarray(summary[:, columns], np.float64) for summary in whole]
    codes = "-".join(corpus.spec.code for corpus in found)
    whose = "over all" if normalise == "none" else f"by {normalise}"
    place = out or Path(f"features-{codes}-{by}.png")
    speech = [_speech(corpus, slice(None)) for corpus in found]
    shares = [f": {100 * share:.0f} % of the variance" for share in made.explained or ()]
    figure = drawing.draw_projection(
        speech,
        np.split(made.points, np.cumsum([len(corpus.utterances) for corpus in found])[:-1]),
        by=by,
        # the name last: that of an encoder is long, and a title is cut at its end
        title=f"{_TITLES[projection]}, z-scores {whose}, {chosen_set.name}",
        axes=(f"component 1{shares[0]}", f"component 2{shares[1]}") if shares else ("", ""),
    )
    typer.echo(str(save(place, figure)))
    figure = drawing.draw_distributions(speech, measured, measures=tuple(MEASURES.values()))
    typer.echo(str(save(place.with_stem(f"{place.stem}-distributions"), figure)))


def _speech(corpus: Corpus, rows: Any) -> Speech:
    from clser_bench.report.drawing import Speech

    emotions, speakers = corpus.emotions[rows].tolist(), corpus.speakers[rows].tolist()
    title, synthetic = corpus.spec.title, corpus.spec.synthetic
    return Speech(
        title=title, emotions=tuple(emotions), speakers=tuple(speakers), synthetic=synthetic
    )
