"""`embeddings`: a picture of what a network sees."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain

if TYPE_CHECKING:
    from clser_bench.protocol import Condition
    from clser_bench.report.drawing import Speech
    from clser_bench.run.embeddings import EmbeddedSide


class Projection(StrEnum):
    """Names of `features.projection.PROJECTIONS`; umap needs its package."""

    pca = "pca"
    tsne = "tsne"
    umap = "umap"


@options.examples(
    'clser-bench embeddings dann --pair "B->C" --corpora ~/corpora',
    'clser-bench embeddings sere --pair "B->C" --projection tsne --formats png,pdf --out figures',
)
@options.condition_arguments("suite", "features", "alignment", "normalisation")
def embeddings(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A trained method.")],
    *,
    pair: Annotated[
        str, typer.Option(metavar="PAIR", help="Source and target: B->C (quote the >).")
    ],
    condition: Condition,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    plugin: options.Plugin = None,  # noqa: ARG001 (likewise)
    shots: options.OneShots = "5",
    seed: Annotated[int, typer.Option(min=0, help="Number of the draw.")] = 0,
    projection: Annotated[
        Projection, typer.Option(help="How the plane is found.")
    ] = Projection.pca,
    formats: Annotated[
        str, typer.Option(metavar="LIST", help="png, svg, pdf: a comma list.")
    ] = "png",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Made where absent.")] = Path(),
) -> None:
    """Draw what a method's network sees of source and target, before adaptation and after.

    Trains one trial and writes two pictures with emotions as colours and corpora as markers. Labels
    of the target colour the points; the training does not see them.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import drawing
    from clser_bench.run.embeddings import embeddings as run_embeddings
    from clser_bench.run.request import Request

    kinds = options.words(formats)
    for kind in kinds:
        if kind not in drawing.FORMATS:
            raise SpecError(f"--formats '{kind}'{did_you_mean(kind, drawing.FORMATS)}")
    request = Request(
        condition=condition,
        pairs=options.pairs(pair),
        corpora=corpora,
        manifests=tuple(manifest or ()),
        methods=(method,),
        shots=options.shots(shots),
    )
    with Bars() as bars:
        sides = run_embeddings(request, seed, progress=bars, say=complain)
    for path in _drawn(sides, method, projection, kinds, out):
        typer.echo(str(path))


def _drawn(
    sides: tuple[EmbeddedSide, EmbeddedSide],
    method: str,
    how: Projection,
    kinds: tuple[str, ...],
    out: Path,
) -> list[Path]:
    import numpy as np

    from clser_bench.errors import SpecError
    from clser_bench.features.projection import project, standardised
    from clser_bench.report.drawing import render
    from clser_bench.report.pictures import draw_projection

    codes = "-".join(side.corpus.spec.code for side in sides)
    written = []
    for moment in ("before", "after"):
        values = [getattr(side, moment) for side in sides]
        points = project(standardised(np.concatenate(values)), how.value).points
        parted = np.split(points, [len(values[0])])
        for kind in kinds:
            figure = draw_projection(
                [_speech(side) for side in sides],
                parted,
                by="emotion",
                title=f"{method} {moment} adaptation, {how.value}",
                axes=("component 1", "component 2") if how is Projection.pca else ("", ""),
            )
            path = out / f"embeddings-{method}-{codes}-{moment}.{kind}"
            try:
                out.mkdir(parents=True, exist_ok=True)
                path.write_bytes(render(figure, kind))
            except OSError as error:
                raise SpecError(f"{path}: cannot be written ({error.strerror})") from error
            written.append(path)
    return written


def _speech(side: EmbeddedSide) -> Speech:
    from clser_bench.report.drawing import Speech

    return Speech(
        title=side.corpus.spec.title,
        emotions=tuple(side.corpus.emotions[side.rows].tolist()),
        speakers=tuple(side.corpus.speakers[side.rows].tolist()),
        synthetic=side.corpus.spec.synthetic,
    )
