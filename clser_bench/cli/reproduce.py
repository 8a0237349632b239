"""`card` and `reproduce`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, print_rows

if TYPE_CHECKING:
    from clser_bench.report.agreement import Agreement
    from clser_bench.report.board import LeaderboardTable
    from clser_bench.report.card import Card, Machine, Requested, Software
    from clser_bench.run.config import RunConfig
    from clser_bench.run.main import Summary
    from clser_bench.store.database import Store

INTERRUPTED = 130
SOME_DIFFERENT = 1


@options.examples(
    "clser-bench card --suite bcro --shots 5 --out bcro-5.json",
    "clser-bench card --results results/night.sqlite --methods sere,dann --shots 5 > sere.json",
)
def card(
    *,
    suite: Annotated[str | None, typer.Option(metavar="NAME", help="Only this suite.")] = None,
    shots: Annotated[
        str | None, typer.Option(metavar="K", help="Only this number of shots.")
    ] = None,
    methods: Annotated[str, typer.Option(metavar="NAMES", help="Only these: a comma list.")] = "",
    features: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this feature set.")
    ] = None,
    normalise: Annotated[
        str | None, typer.Option(metavar="HOW", help="Only this normalisation.")
    ] = None,
    setting: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only transductive, or only inductive.")
    ] = None,
    target_prior: Annotated[
        str | None, typer.Option(metavar="PRIOR", help="Only this prior.")
    ] = None,
    selection: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this choice of hyper-parameters.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Where to write; with several tables FILE-1.json, FILE-2.json and so on.",
        ),
    ] = None,
    results: options.Results = options.RESULTS,
) -> None:
    """Write a provenance card for each table: JSON that others can check and make again.

    It tells every draw's UAR, the hyper-parameters, keys of audio and features, and the command;
    no path, host or user. Package versions and machine are those of this moment, so write the
    card where the run was. Check one with `clser-bench reproduce`.
    """
    from clser_bench.errors import SpecError
    from clser_bench.report import tables
    from clser_bench.report.card import as_text
    from clser_bench.store.database import Store

    with Store(results, create=False) as store:
        made = tables.leaderboard(
            store,
            suite=suite,
            shots=shots,
            features=features,
            normalisation=normalise,
            setting=setting,
            prior=target_prior,
            selection=selection,
            methods=options.words(methods) or None,
            intervals=False,
        )
        if not made:
            raise SpecError(f"{results}: no table is like that; see `clser-bench leaderboard`")
        if out is None and len(made) > 1:
            raise SpecError(
                f"{results}: {len(made)} tables, a card each; name a file with --out, or one table "
                "with --suite, --shots and the like"
            )
        texts = [as_text(_card(store, table)) for table in made]
    if out is None:
        typer.echo(texts[0], nl=False)
        return
    for number, (table, text) in enumerate(zip(made, texts, strict=True), start=1):
        place = out if len(made) == 1 else out.with_stem(f"{out.stem}-{number}")
        _write(place, text)
        complain(f"{place}: {table.title}, {table.rules.features}, {table.rules.selection}")


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
    from clser_bench.report.card import read_card

    told = read_card(card_file)
    _check(told, features=features)
    _check_places(told, corpora, manifest)
    place = results or Path("results") / f"reproduced-{told.sha256[:12]}.sqlite"
    _check_results(place, asked=results is not None)
    software, machine = _here()
    for line in other_software(told.software, software):
        complain(line)
    configs = [
        dataclasses.replace(
            _config(request, features=features),
            corpora=corpora if request.folder else None,
            manifests=tuple(manifest or ()) if request.manifests else (),
            results=place,
            scheduler=scheduler,  # type: ignore[arg-type]  # checked by RunConfig
            workers=workers,
            devices=options.words(devices),
        )
        for request in told.requests
    ]
    summary = _run(configs)
    _report(compare(told, _found(told, summary, software=software, machine=machine)))


def _here() -> tuple[Software, Machine]:
    from clser_bench.report.card import Machine, Software
    from clser_bench.run import provenance

    return (
        Software(**dataclasses.asdict(provenance.code())),
        Machine(**dataclasses.asdict(provenance.hardware())),
    )


def _card(store: Store, table: LeaderboardTable) -> Card:
    """The card of a table with the requests and commands of the runs behind it."""
    from clser_bench.report.agreement import make_card, runs_of
    from clser_bench.run.config import RunConfig
    from clser_bench.run.provenance import command, narrowed
    from clser_bench.spec import parse_shots

    requests, commands = [], []
    for run, methods in runs_of(store, table):
        stored = RunConfig.from_json(run.config, results=store.path)
        config = narrowed(
            stored,
            suite=run.suite,
            pairs=run.pairs,
            features=table.rules.features,
            methods=methods,
            shots=parse_shots(table.rules.shots),
        )
        folder = stored.corpora is not None and run.suite != "demo"
        requests.append(_requested(config, folder=folder, manifests=len(stored.manifests)))
        commands.append(command(config, folder=folder, manifests=len(stored.manifests)))
    software, machine = _here()
    return make_card(
        store, table, software=software, machine=machine, requests=requests, commands=commands
    )


def _requested(config: RunConfig, *, folder: bool, manifests: int) -> Requested:
    from pydantic import ValidationError

    from clser_bench.errors import SpecError
    from clser_bench.report.card import Requested, faults

    try:
        return Requested(
            suite=config.suite,
            pairs=tuple((pair.source, pair.target) for pair in config.pairs),
            methods=config.methods,
            shots=config.shots[0],
            seeds=config.seeds,
            align=config.align,
            settings={method: dict(values) for method, values in config.settings},
            skip_bad=config.skip_bad,
            manifests=manifests,
            folder=folder,
            **dataclasses.asdict(config.protocol),
        )
    except ValidationError as error:
        raise SpecError(f"the run's options do not fit a card: {faults(error)}") from error


def _config(request: Requested, *, features: str | None) -> RunConfig:
    """The request as `run` takes it, still without places."""
    from clser_bench.run.config import RunConfig, as_settings
    from clser_bench.spec import Pair, Protocol

    return RunConfig(
        suite=request.suite,
        pairs=tuple(Pair(source, target) for source, target in request.pairs),
        methods=request.methods,
        shots=(request.shots,),
        seeds=request.seeds,
        protocol=Protocol(
            features=features or request.features,
            normalisation=request.normalisation,
            setting=request.setting,
            prior=request.prior,
            fixed4=request.fixed4,
            selection=request.selection,
        ),
        settings=as_settings(request.settings),
        skip_bad=request.skip_bad,
        align=request.align,
    )


def _check(told: Card, *, features: str | None) -> None:
    """Refuse a card whose run would be another one here, or would run what came with it."""
    from clser_bench.errors import SpecError
    from clser_bench.run.provenance import is_local
    from clser_bench.spec import PROTOCOL_VERSION

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


def _run(configs: list[RunConfig]) -> Summary:
    """Run the requests in their order; the summary of the last."""
    from clser_bench.run.main import run

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
    from clser_bench.report.agreement import make_card
    from clser_bench.report.tables import leaderboard
    from clser_bench.store.database import Store

    rules = told.rules
    with Store(summary.results, create=False) as store:
        tables = leaderboard(
            store,
            suite=summary.suite,
            shots=rules.shots,
            features=summary.features,
            normalisation=rules.normalisation,
            setting=rules.setting,
            prior=rules.prior,
            selection=summary.selection,
            methods=[method.method for method in told.methods],
            intervals=False,
        )
        for table in tables:
            if table.rules.suite == rules.suite:
                return make_card(store, table, software=software, machine=machine)
    raise StoreError(
        f"{summary.results}: the run made no table of suite {rules.suite} and selection "
        f"{rules.selection}, as the card has it; its requests are not those of its table"
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


def _write(place: Path, text: str) -> None:
    from clser_bench.errors import StoreError

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{place}: cannot be written ({error.strerror})") from error
