"""`reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.cards import here
from clser_bench.cli.output import Bars, complain, print_rows

if TYPE_CHECKING:
    from clser_bench.report.agreement import Agreement
    from clser_bench.report.card import Card, Machine, Requested, Software
    from clser_bench.run.execute import Summary
    from clser_bench.run.request import Request

INTERRUPTED = 130
SOME_DIFFERENT = 1


@options.examples(
    "clser-bench reproduce bcro-5.json --corpora ~/corpora",
    "clser-bench reproduce bcro-5.json --corpora ~/corpora --results again.sqlite",
)
def reproduce(
    card_file: Annotated[
        Path, typer.Argument(metavar="CARD", help="A card that `clser-bench card` wrote.")
    ],
    *,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead of the card's, where those lie in a folder of its author."
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            "--results",
            metavar="FILE",
            help="Where to store what is run; a new file below results/ where not given.",
        ),
    ] = None,
    scheduler: Annotated[
        str,
        typer.Option(metavar="WHERE", help="ray (processes on all cores) or local (this process)."),
    ] = "ray",
    workers: options.Workers = None,
    devices: options.Devices = "",
) -> None:
    """Run what a card tells of again, and compare cell by cell.

    `identical`: every draw has the same UAR. `within noise`: the draws differ both ways, by no more
    than chance (paired over draws, Holm over all cells). `different`: else. Other audio, features
    or versions are named first, since they explain all that follows. Ends with 0 where nothing is
    different, else with 1.
    """
    from clser_bench.report.agreement import compare, other_software
    from clser_bench.report.card_reading import read_card

    told = read_card(card_file)
    _check(told, features=features)
    _check_places(told, corpora, manifest)
    place = results or Path("results") / f"reproduced-{told.sha256[:12]}.sqlite"
    _check_results(place, asked=results is not None)
    software, machine = here()
    for line in other_software(told.software, software):
        complain(line)
    configs = [
        _config(request, features=features).replace(
            corpora=corpora if request.folder else None,
            manifests=tuple(manifest or ()) if request.manifests else (),
            results=place,
            scheduler=scheduler,
            workers=workers,
            devices=options.words(devices),
        )
        for request in told.requests
    ]
    summary = _run(configs)
    _report(compare(told, _found(told, summary, software=software, machine=machine)))


def _config(request: Requested, *, features: str | None) -> Request:
    """The request as `run` takes it, still without places."""
    from clser_bench.protocol import Condition, Pair
    from clser_bench.run.request import Request

    return Request(
        pairs=tuple(Pair(source, target) for source, target in request.pairs),
        methods=request.methods,
        shots=(request.shots,),
        seeds=request.seeds,
        condition=Condition(
            suite=request.suite or "",
            features=features or request.features,
            alignment=request.align,
            normalisation=request.normalisation,
            setting=request.setting,
            prior=request.prior,
            classes="fixed4" if request.fixed4 else "shared",
            selection=request.selection,
        ),
        settings={name: dict(values) for name, values in request.settings.items()},
        skip_bad=request.skip_bad,
        corruptions=request.corruptions,
    )


def _check(told: Card, *, features: str | None) -> None:
    """Refuse a card whose run would be another one here, or would run what came with it."""
    from clser_bench.errors import SpecError
    from clser_bench.protocol import PROTOCOL_VERSION
    from clser_bench.run.request import is_local

    if told.protocol_version != PROTOCOL_VERSION:
        raise SpecError(
            f"the card is of protocol version {told.protocol_version}, this clser-bench has "
            f"{PROTOCOL_VERSION}: their numbers cannot be compared; install clser-bench "
            f"{told.software.clser_bench}, which wrote the card"
        )
    if not told.requests:
        raise SpecError("the card has no request, so nobody can make it again")
    for name in [request.features for request in told.requests if features is None]:
        if is_local(name):
            raise SpecError(
                f"the card's features '{name}' lie in a folder of its author; name your copy with "
                "--features"
            )
        if "remote-code" in name:
            raise SpecError(
                f"the card's features '{name}' run code that comes with the model; read that code, "
                f"and if you trust it add --features '{name}'"
            )


def _check_places(told: Card, corpora: Path | None, manifests: list[Path] | None) -> None:
    from clser_bench.errors import SpecError

    for request in told.requests:
        if request.manifests and not manifests:
            raise SpecError(
                f"the card was made of {request.manifests} manifest(s) of its author's recordings; "
                "name yours with --manifest"
            )
        if request.folder and corpora is None and not manifests:
            raise SpecError("name the folder of your corpora with --corpora or CLSER_CORPORA")


def _check_results(place: Path, *, asked: bool) -> None:
    from clser_bench.errors import SpecError

    if place.exists() and not asked:
        raise SpecError(
            f"{place}: is there from before; go on with it by --results {place}, or name another "
            "file, which makes every trial again"
        )


def _run(configs: list[Request]) -> Summary:
    """Run the requests in their order; the summary of the last."""
    from clser_bench.run.execute import run

    for config in configs:
        with Bars() as bars:
            summary = run(config, progress=bars, say=complain)
        if summary.found:
            complain(
                f"{summary.found} of {summary.planned} trials were in {summary.results} before and "
                "are not made again: they prove nothing new"
            )
        if summary.interrupted:
            complain(f"Interrupted: go on with --results {summary.results}")
            raise typer.Exit(INTERRUPTED)
    return summary


def _found(told: Card, summary: Summary, *, software: Software, machine: Machine) -> Card:
    """The card of the table that was just made."""
    from clser_bench.errors import StoreError
    from clser_bench.report.card_making import make_card
    from clser_bench.report.conditions import read_features
    from clser_bench.report.tables import leaderboard
    from clser_bench.store.sqlite import Store

    rules = told.rules
    _, condition = read_features(rules.features)
    with Store(summary.results, create=False, read_only=True) as store:
        tables = leaderboard(
            store,
            wanted=summary.condition.texts() | {"shots": rules.shots, "corruption": condition.name},
            methods=[method.method for method in told.methods],
            intervals=False,
        )
        for table in tables:
            if table.rules.suite == rules.suite:
                return make_card(store, table, software=software, machine=machine)
    raise StoreError(
        f"{summary.results}: the run made no table of suite {rules.suite}, selection "
        f"{rules.selection} and target {condition.name}, as the card has it; its requests are not "
        "those of its table"
    )


def _report(agreement: Agreement) -> None:
    from clser_bench.report.agreement import DIFFERENT, IDENTICAL, NOISE

    if agreement.corpora:
        complain(
            "other audio, labels, features or normalisation than the card's, which explains "
            f"whatever differs for them: {', '.join(agreement.corpora)}"
        )
    for line in agreement.changes:
        complain(line)
    names = ("method", "pair", "verdict", "n", "shift", "largest", "reason")
    print_rows(
        names,
        [
            (
                cell.method,
                cell.pair,
                cell.verdict,
                cell.n,
                "" if cell.shift is None else f"{round(cell.shift, 2) + 0.0:+.2f}",
                "" if cell.largest is None else f"{cell.largest:.2f}",
                cell.reason,
            )
            for cell in agreement.cells
        ],
    )
    counts = [f"{agreement.count(verdict)} {verdict}" for verdict in (IDENTICAL, NOISE, DIFFERENT)]
    complain(f"{len(agreement.cells)} cells (means over pairs included): {', '.join(counts)}.")
    if agreement.count(DIFFERENT):
        raise typer.Exit(SOME_DIFFERENT)
