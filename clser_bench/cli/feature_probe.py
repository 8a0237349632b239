"""`features probe`."""

from __future__ import annotations

from typing import Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, print_rows
from clser_bench.protocol import Normalisation


@options.examples(
    "clser-bench features probe hf:./my-encoder --corpora ~/corpora",
    "clser-bench features probe whisper-base --corpora ~/corpora --normalise speaker --seeds 10",
)
def probe(
    encoder: Annotated[
        str, typer.Argument(help="A short name, hf:REPOSITORY or hf:./FOLDER; no layer.")
    ],
    *,
    corpora: options.Corpora = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    manifest: options.Manifest = None,
    suite: Annotated[
        str, typer.Option(help="Pairs among the corpora at hand that belong to this suite.")
    ] = "wide",
    normalise: Annotated[
        Normalisation, typer.Option(help="Whose statistics the z-scores use.")
    ] = "corpus",
    seeds: Annotated[int, typer.Option(min=1, help="Draws with 5 shots.")] = 4,
    devices: options.Devices = "",
    workers: options.Workers = None,
    skip_bad: options.SkipBad = False,
) -> None:
    """Compare the layers and pools of an encoder.

    One pass keeps every layer; then logistic regression on the pairs of a suite for choosing. With
    a manifest, all pairs of its corpora. UAR in percent, mean over pairs, best first by the mean of
    5 shots and all labels.
    """
    from clser_bench.corpora.definitions import definitions
    from clser_bench.corpora.locate import load_corpora, locate
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.protocol import Pair
    from clser_bench.run.probe import layer_sets
    from clser_bench.run.probe import probe as run_probe

    layer_sets(encoder)  # before corpora are read
    suites = definitions().suites
    if suite not in suites:
        raise SpecError(f"suite '{suite}' is unknown{did_you_mean(suite, suites)}")
    located = locate(corpora, tuple(manifest or ()))
    if manifest:
        codes = list(located.listings)
        pairs = tuple(Pair(one, other) for one in codes for other in codes if one != other)
    else:
        there = located.listings
        wanted = suites[suite].pairs(normalise)
        pairs = tuple(pair for pair in wanted if {pair.source, pair.target} <= set(there))
        codes = list(dict.fromkeys(code for p in pairs for code in (p.source, p.target)))
    if not pairs:
        raise SpecError(
            f"no pair of suite '{suite}' is at hand; name the folder of its corpora "
            f"({' '.join(suites[suite].corpora)}) with --corpora, or your own with --manifest"
        )
    with Bars() as bars:
        rows = run_probe(
            load_corpora(located=located, codes=codes, skip_bad=skip_bad, progress=bars),
            pairs,
            encoder,
            seeds=seeds,
            normalisation=normalise,
            skip_bad=skip_bad,
            workers=workers,
            devices=options.words(devices),
            progress=bars,
        )
    table: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        table.setdefault((row.layer, row.pool), []).append(row.mean)
    best = sorted(table.items(), key=lambda item: -sum(item[1]))
    print_rows(
        ("layer", "pool", "5 shots", "all labels"),
        [(layer, pool, *(f"{value:.1f}" for value in means)) for (layer, pool), means in best],
    )
    complain(f"UAR of logistic regression, {len(pairs)} pairs, {normalise} normalisation.")
