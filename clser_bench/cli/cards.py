"""`card` and `reproduce`: the provenance of tables, and tables made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clser_bench.cli import options, rules
from clser_bench.cli.output import INTERRUPTED, Bars, complain, opened, print_rows
from clser_bench.errors import SpecError, StoreError
from clser_bench.files import write_whole
from clser_bench.protocol import PROTOCOL_VERSION, Condition, Pair
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clser_bench.report.agreement import Agreement
    from clser_bench.report.model import Leaderboard
    from clser_bench.report.provenance import Card
    from clser_bench.run.execute import Summary

SOME_DIFFERENT = 1
_SHOWN = 3  # findings in an error
_ALIKE = ("methods", "shots", "seeds", "corruptions", "skip_bad")
"""Fields that a request and that of a card have in one form."""


@options.examples(
    "clser-bench card --suite bcro --shots 5 --out bcro-5.json",
    "clser-bench card --results results/night.sqlite --methods sere,dann --shots 5 > sere.json",
)
@rules.condition_options()
def card(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    out: Path | None = None,
    results: options.Results = options.RESULTS,
) -> None:
    """Write a provenance card for each table: JSON that others can check and make again.

    It holds every draw's UAR, the hyper-parameters and how many settings of them were evaluated on
    the targets, keys of audio and features, and the command; no path, host or user. Rows that were
    imported name their file. Package versions and machine are those of this moment, so write the
    card where the run was. A results file in which `results verify` finds something gets no card.
    Check one with `clser-bench reproduce`.

    Options:
        out FILE: Where to write; with several tables FILE-1.json, FILE-2.json and so on.
    """
    from clser_bench.report.provenance import as_text
    from clser_bench.report.table import leaderboard

    if out is not None and out.suffix.lower() != ".json":
        raise SpecError(f"{out}: name a file that ends in .json, such as card.json")
    with opened(results) as store:
        named = options.words(methods)
        made = leaderboard(store.shown(wanted), store, methods=named, intervals=False)
        if out is None and len(made) > 1:
            raise SpecError(
                f"{results}: {len(made)} tables, a card each; name a file with --out, or one table "
                "with --suite, --shots and the like"
            )
        if findings := store.verify():
            texts = [f"{item.place} {item.name[:12]}: {item.problem}" for item in findings]
            first = "; ".join(texts[:_SHOWN])
            why = f"{len(findings)} thing(s) in the file are not as they were written"
            see = "see `clser-bench results verify`"
            raise StoreError(f"{results}: no card, since {why} ({see}): {first}")
        texts = [as_text(card_of(store, table)) for table in made]
    if out is None:
        typer.echo(texts[0], nl=False)
        return
    for number, (table, text) in enumerate(zip(made, texts, strict=True), start=1):
        place = out if len(made) == 1 else out.with_stem(f"{out.stem}-{number}")
        write_whole(place, text)
        complain(f"{place}: {table.title}, {table.condition.features}, {table.condition.selection}")


def card_of(store: Store, table: Leaderboard) -> Card:
    """The card of a table with the requests and commands of the runs behind it."""
    from pydantic import ValidationError

    from clser_bench.report.provenance import Requested, faults, make_card, runs_of
    from clser_bench.run.request import Request

    requests, commands = [], []
    for run, methods in runs_of(store, table):
        if run.imported:
            continue
        stored = Request.from_json(run.request, results=store.path)
        own = {name: getattr(table.condition, name) for name in ("features", "shots", "corruption")}
        request = stored.narrowed(suite=run.suite, pairs=run.pairs, methods=methods, **own)
        folder = stored.corpora is not None and run.suite != "demo"
        manifests = len(stored.manifests)
        commands.append(request.command(folder=folder, manifests=manifests))
        values = {name: getattr(request, name) for name in (*_ALIKE, "settings")}
        values |= {"condition": request.condition.texts(), "manifests": manifests, "folder": folder}
        values["pairs"] = tuple(f"{pair.source}->{pair.target}" for pair in request.pairs)
        try:
            requests.append(Requested(**values))
        except ValidationError as error:
            raise SpecError(f"the run's options do not fit a card: {faults(error)}") from error
    return make_card(store, table, **here(), requests=requests, commands=commands)


def here() -> dict[str, Any]:
    """The `software` and the `machine` of this process, as cards have them."""
    from clser_bench.report.provenance import Machine, Software
    from clser_bench.run.provenance import code, hardware

    return {"software": Software(**code()), "machine": Machine(**hardware())}


@options.examples(
    "clser-bench confirm results/clser.sqlite --suite same-language --corpora ~/more-corpora",
)
def confirm(
    results: Annotated[Path, options.argument("explored")],
    *,
    suite: str,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    card_file: Annotated[Path | None, typer.Option("--card")] = None,
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    devices: options.Devices = "",
    format_: options.Format = "table",
) -> None:
    """Run what a results file arrived at on targets that it never looked at.

    Takes the rules of its last run and all methods that were run under them, writes their versions
    and values to a card, and only then runs them on the suite. A suite of which a target has a
    result in the file is refused. The table says confirmed, with the card; all others say
    exploratory. After an interruption the same command goes on.

    Options:
        suite NAME: A suite whose targets have no results in the file.
        card_file FILE: Else beside RESULTS, named by the suite.
    """
    from clser_bench.cli.run import go
    from clser_bench.run.provenance import explored, freeze

    request, runs = explored(results)
    places: dict[str, Any] = {"corpora": corpora, "manifests": tuple(manifest or ())}
    means: dict[str, Any] = {"scheduler": scheduler, "workers": workers}
    means |= {"devices": options.words(devices)}
    condition = request.condition.replace(suite=suite)
    asked = request.replace(condition=condition, **places, **means)
    place = card_file or results.with_name(f"{results.stem}-confirm-{suite}.json")
    go(freeze(asked, runs, card=place, say=complain), format_=format_, with_="")


@options.examples(
    "clser-bench reproduce bcro-5.json --corpora ~/corpora",
    "clser-bench reproduce bcro-5.json --corpora ~/corpora --results again.sqlite",
)
def reproduce(
    card_file: Annotated[Path, options.argument("card")],
    *,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    plugin: options.Plugin = None,  # noqa: ARG001 (likewise)
    manifest: options.Manifest = None,
    features: str | None = None,
    results: Path | None = None,
    scheduler: str = "ray",
    workers: options.Workers = None,
    devices: options.Devices = "",
) -> None:
    """Run the requests of a card again, and compare cell by cell.

    `identical`: every draw has the same UAR. `within noise`: the draws differ both ways, by no more
    than chance (paired over draws, Holm over all cells). `different`: else. Other audio, features
    or versions are named first, since they explain all that follows. Rows that the card's author
    imported are left out. Ends with 0 where nothing is different, else with 1.

    Options:
        features NAME: Instead of the card's, where those lie in a folder of its author.
        results FILE: Where to store what is run; a new file below results/ where not given.
        scheduler WHERE: ray (processes on all cores) or local (this process).
    """
    from clser_bench.report.agreement import compare, other_software
    from clser_bench.report.provenance import read_card
    from clser_bench.run.execute import run
    from clser_bench.run.request import Request

    claimed = read_card(card_file)
    place = results or Path("results") / f"reproduced-{claimed.sha256[:12]}.sqlite"
    _check(claimed, features, corpora, manifest)
    if place.exists() and results is None:
        another = "name another file, which makes every trial again"
        raise SpecError(
            f"{place}: is there from before; go on with it by --results {place}, or {another}"
        )
    own = here()
    for line in other_software(claimed.software, own["software"]):
        complain(line)
    for method in claimed.methods:
        if method.imported:
            complain(f"{method.method}: imported from {method.imported}, so it is not run again")
    means: dict[str, Any] = {"scheduler": scheduler, "workers": workers, "results": place}
    means |= {"devices": options.words(devices)}
    requests = []
    for asked in claimed.requests:  # all, before one of them runs
        condition = Condition.from_texts(asked.condition)
        request = Request(
            condition=condition.replace(features=features or condition.features),
            pairs=tuple(map(Pair.parse, asked.pairs)),
            settings={name: dict(values) for name, values in asked.settings.items()},
            **{name: getattr(asked, name) for name in _ALIKE},
            corpora=corpora if asked.folder else None,
            manifests=tuple(manifest or ()) if asked.manifests else (),
            **means,
        )
        requests.append(request)
    for request in requests:
        with Bars() as bars:
            summary = run(request, progress=bars, say=complain)
        if summary.found:
            there = f"{summary.found} of {summary.planned} trials were in {place} before"
            complain(f"{there} and are not made again: they prove nothing new")
        if summary.interrupted:
            complain(f"Interrupted: go on with --results {place}")
            raise typer.Exit(INTERRUPTED)
    _report(compare(claimed, _found(claimed, summary, **own)))


def _check(
    claimed: Card, features: str | None, corpora: Path | None, manifests: list[Path] | None
) -> None:
    """Refuse a card whose run would be another one here, or would run what came with it."""
    from clser_bench.run.request import is_local

    version, wrote = claimed.rules.protocol_version, claimed.software.clser_bench
    if version != PROTOCOL_VERSION:
        differ = f"is of protocol version {version}, this clser-bench has {PROTOCOL_VERSION}"
        install = f"install clser-bench {wrote}, which wrote the card"
        raise SpecError(f"the card {differ}: their numbers cannot be compared; {install}")
    if not claimed.requests:
        raise SpecError("the card has no request, so nobody can make it again")
    for asked in claimed.requests if features is None else ():
        name = asked.condition["features"]
        whose = f"the card's features '{name}'"
        if is_local(name):
            raise SpecError(
                f"{whose} lie in a folder of its author; name your copy with --features"
            )
        if "remote-code" in name:
            remedy = f"read that code, and if you trust it add --features '{name}'"
            raise SpecError(f"{whose} run code that comes with the model; {remedy}")
    for asked in claimed.requests:
        if asked.manifests and not manifests:
            what = f"{asked.manifests} manifest(s) of its author's recordings"
            raise SpecError(f"the card was made of {what}; name yours with --manifest")
        if asked.folder and corpora is None and not manifests:
            raise SpecError("name the folder of your corpora with --corpora or CLSER_CORPORA")


def _found(claimed: Card, summary: Summary, **here: Any) -> Card:
    """The card of the table that was just made."""
    from clser_bench.report.provenance import make_card
    from clser_bench.report.table import leaderboard

    rules = claimed.condition
    own = {name: rules[name] for name in ("suite", "shots", "corruption", "selection")}
    with Store(summary.results, create=False, read_only=True) as store:
        frame = store.frame(summary.condition.texts() | own)
        names = [method.method for method in claimed.methods if not method.imported]
        frame = frame[frame.method.isin(names)]
        for table in leaderboard(frame, store, intervals=False):
            return make_card(store, table, **here)
    raise StoreError(
        f"{summary.results}: the run made no table of suite {rules['suite']}, selection "
        f"{rules['selection']} and target {rules['corruption']}, as the card has it; its requests "
        "are not those of its table"
    )


def _report(agreement: Agreement) -> None:
    from clser_bench.report.agreement import DIFFERENT, IDENTICAL, NOISE

    if agreement.corpora:
        other = "other audio, labels, features or normalisation than the card's"
        codes = ", ".join(agreement.corpora)
        complain(f"{other}, which explains whatever differs for them: {codes}")
    for line in agreement.changes:
        complain(line)
    rows = []
    for cell in agreement.cells:
        shift = "" if cell.shift is None else f"{round(cell.shift, 2) + 0.0:+.2f}"
        largest = "" if cell.largest is None else f"{cell.largest:.2f}"
        rows.append((cell.method, cell.pair, cell.verdict, cell.n, shift, largest, cell.reason))
    print_rows(("method", "pair", "verdict", "n", "shift", "largest", "reason"), rows)
    counts = [f"{agreement.count(verdict)} {verdict}" for verdict in (IDENTICAL, NOISE, DIFFERENT)]
    complain(f"{len(agreement.cells)} cells (means over pairs included): {', '.join(counts)}.")
    if agreement.count(DIFFERENT):
        raise typer.Exit(SOME_DIFFERENT)
