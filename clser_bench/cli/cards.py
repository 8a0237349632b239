"""`card`, and the cards that others write."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import complain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clser_bench.report.board import LeaderboardTable
    from clser_bench.report.card import Card, Machine, Requested, Software
    from clser_bench.run.request import Request
    from clser_bench.store.sqlite import Store


@options.examples(
    "clser-bench card --suite bcro --shots 5 --out bcro-5.json",
    "clser-bench card --results results/night.sqlite --methods sere,dann --shots 5 > sere.json",
)
@options.condition_options()
def card(
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
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
    from clser_bench.store.sqlite import Store

    with Store(results, create=False) as store:
        made = tables.leaderboard(
            store,
            wanted=wanted,
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
        texts = [as_text(card_of(store, table)) for table in made]
    if out is None:
        typer.echo(texts[0], nl=False)
        return
    for number, (table, text) in enumerate(zip(made, texts, strict=True), start=1):
        place = out if len(made) == 1 else out.with_stem(f"{out.stem}-{number}")
        _write(place, text)
        complain(f"{place}: {table.title}, {table.rules.features}, {table.rules.selection}")


def card_of(store: Store, table: LeaderboardTable) -> Card:
    """The card of a table with the requests and commands of the runs behind it.

    Args:
        store: the results that the table was made of.
        table: as `tables.leaderboard` made it.

    Raises:
        SpecError: a card cannot hold it.
        StoreError: the database is damaged.
    """
    from clser_bench.protocol import parse_shots
    from clser_bench.report.card_making import make_card, runs_of
    from clser_bench.report.conditions import read_features
    from clser_bench.run.request import Request

    features, condition = read_features(table.rules.features)
    requests, commands = [], []
    for run, methods in runs_of(store, table):
        stored = Request.from_json(run.request, results=store.path)
        config = stored.narrowed(
            suite=run.suite,
            pairs=run.pairs,
            features=features,
            methods=methods,
            shots=parse_shots(table.rules.shots),
            corruption=condition.name if condition.kind else "",
        )
        folder = stored.corpora is not None and run.suite != "demo"
        requests.append(_requested(config, folder=folder, manifests=len(stored.manifests)))
        commands.append(config.command(folder=folder, manifests=len(stored.manifests)))
    software, machine = here()
    return make_card(
        store, table, software=software, machine=machine, requests=requests, commands=commands
    )


def here() -> tuple[Software, Machine]:
    """The software and the machine of this process, as cards tell them."""
    from clser_bench.report.card import Machine, Software
    from clser_bench.run import provenance

    return (
        Software(**dataclasses.asdict(provenance.code())),
        Machine(**dataclasses.asdict(provenance.hardware())),
    )


def _requested(config: Request, *, folder: bool, manifests: int) -> Requested:
    from pydantic import ValidationError

    from clser_bench.errors import SpecError
    from clser_bench.report.card import Requested, faults

    try:
        return Requested(
            suite=config.condition.suite or None,
            pairs=tuple((pair.source, pair.target) for pair in config.pairs),
            methods=config.methods,
            shots=config.shots[0],
            seeds=config.seeds,
            align=config.condition.alignment,
            settings=config.settings,
            skip_bad=config.skip_bad,
            manifests=manifests,
            folder=folder,
            corruptions=config.corruptions,
            features=config.condition.features,
            normalisation=config.condition.normalisation,
            setting=config.condition.setting,
            prior=config.condition.prior,
            fixed4=config.condition.classes == "fixed4",
            selection=config.condition.selection,
        )
    except ValidationError as error:
        raise SpecError(f"the run's options do not fit a card: {faults(error)}") from error


def _write(place: Path, text: str) -> None:
    from clser_bench.errors import StoreError

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{place}: cannot be written ({error.strerror})") from error
