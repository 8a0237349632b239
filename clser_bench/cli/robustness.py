"""`robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import columns, complain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clser_bench.report.conditions import Scale
    from clser_bench.report.robustness import Robustness


@options.examples(
    "clser-bench robustness --suite bcro --methods sere,logistic",
    "clser-bench robustness --suite bcro --shots 5 --figure robustness.png",
    "clser-bench robustness --format csv > robustness.csv",
)
@options.condition_options()
def robustness(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the curves: .png, .svg or .pdf."),
    ] = None,
    width: Annotated[
        float,
        typer.Option(metavar="INCHES", min=2.0, max=40.0, help="Of the figure; wider if need be."),
    ] = 3.4,
    format_: options.Format = "table",
    results: options.Results = options.RESULTS,
) -> None:
    """Tell how methods stand a corrupted target.

    Means on clean speech and under each corruption of `run --corrupt`, and what is lost against
    clean speech. Needs neither corpora nor methods.
    """
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report import robustness as report
    from clser_bench.report.robustness_text import render
    from clser_bench.store.sqlite import Store

    if format_ not in options.FORMATS:
        raise SpecError(f"there is no format '{format_}'{did_you_mean(format_, options.FORMATS)}")
    kind = _kind(figure)
    named = options.words(methods)
    with Store(results, create=False, read_only=True) as store:
        found = report.robustness(
            store,
            scales(),
            wanted=wanted,
            methods=named or None,
        )
    if not found:
        raise SpecError(
            f"{results}: no results with a corrupted target are what was asked for; make some with "
            "`clser-bench run --corrupt noise:20,10,0`"
        )
    if figure is not None:
        _write(figure, found, named, kind=kind, width=width)
    typer.echo(render(found, format_, width=columns()), nl=False)


def scales() -> dict[str, Scale]:
    """What a report must know of each kind of corruption."""
    from clser_bench.corpora.corrupt import KINDS
    from clser_bench.report.conditions import Scale

    return {name: Scale(unit=kind.unit, clean=kind.clean) for name, kind in KINDS.items()}


def _kind(path: Path | None) -> str:
    """Refuse a format before the work, not after it."""
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.report.drawing import FORMATS

    if path is None:
        return ""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        known = [f".{name}" for name in FORMATS]
        raise SpecError(
            f"--figure {path}: the ending says the format, and '{path.suffix}' is none"
            f"{did_you_mean(path.suffix, known)}"
        )
    return kind


def _write(
    path: Path, found: Sequence[Robustness], methods: Sequence[str], *, kind: str, width: float
) -> None:
    from clser_bench.errors import ClserError, SpecError
    from clser_bench.report.drawing import render
    from clser_bench.report.robustness_figure import draw

    if len(found) > 1:
        rules = "; ".join(
            f"{t.rules.suite}, {t.rules.features}, {t.rules.normalisation}, {t.rules.setting}, "
            f"{t.rules.prior}, {t.rules.selection}, {t.rules.shots} shots"
            for t in (item.table for item in found)
        )
        raise SpecError(
            f"--figure draws one table, and {len(found)} were asked for: narrow them down by "
            f"--suite, --shots, --features and the like ({rules})"
        )
    content = render(draw(found[0], methods=methods, width=width), kind)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ClserError(
            f"{path}: cannot be written ({error.strerror}); choose another --figure"
        ) from error
    complain(str(path))
