"""`audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, print_rows

if TYPE_CHECKING:
    from clser_bench.protocol import Condition

DIFFERS = 1


@options.examples(
    "clser-bench audit my_method.py",
    "clser-bench audit sere --corpora ~/corpora --suite bcro --seeds 2",
)
@options.condition_arguments(
    "suite", "features", "alignment", "normalisation", "setting", "prior", "classes"
)
def audit(
    method: Annotated[
        str, typer.Argument(metavar="METHOD|FILE", help="A method, or the file of one.")
    ],
    *,
    condition: Condition,
    pairs: options.Pairs = "",
    shots: Annotated[
        str, typer.Option("--shots", metavar="K", help="Labelled utterances per emotion.")
    ] = "5",
    seeds: options.Seeds = 3,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
) -> None:
    """Check that a method's scores follow from the features that it is given alone.

    Runs it as usual, and on a copy with renamed recordings and speakers, another order of rows, and
    a process for every trial. The mean UARs must agree: within half a percent, or four standard
    errors where the method draws random numbers. Exits with 1 where they do not.
    """
    from clser_bench import registry
    from clser_bench.run.audit import audit as run_audit
    from clser_bench.run.confine import confinement
    from clser_bench.run.request import Request

    name = registry.add_plugin(method) if method.endswith(".py") else method
    request = Request(
        condition=condition,
        pairs=options.pairs(pairs),
        corpora=corpora,
        manifests=tuple(manifest or ()),
        methods=(name,),
        shots=options.shots(shots)[:1],
        seeds=seeds,
        scheduler="local",
    )
    with Bars() as bars:
        found = run_audit(request, progress=bars, say=complain)
    complain(f"methods run {confinement()}")
    rows = []
    for one in found:
        moved = f"{one.copied - one.plain:+.1f}"
        verdict = "" if one.agrees else "differs"
        label = "mean" if one.pair is None else str(one.pair)
        cells = (f"{one.plain:.1f}", f"{one.copied:.1f}", moved, f"{one.allowed:.1f}", verdict)
        rows.append((label, *cells))
    print_rows(("pair", "UAR", "in the copy", "difference", "allowed", ""), rows)
    if not found[-1].agrees:
        complain(f"{name}: its scores do not follow from the features alone")
        raise typer.Exit(DIFFERS)
