"""`features probe`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, print_rows
from clser_bench.protocol import Normalisation, Shots

if TYPE_CHECKING:
    from clser_bench.run.probe import Probed


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
    seeds: Annotated[int, typer.Option(min=1, help="Draws with 5 shots.")] = 2,
    devices: options.Devices = "",
    workers: options.Workers = None,
    skip_bad: options.SkipBad = False,
) -> None:
    """Compare the layers and pools of an encoder.

    One pass keeps every layer; then logistic regression on principal axes, on the pairs of a suite
    for choosing. With a manifest, all pairs of its corpora. UAR in percent, mean over pairs, best
    first by the mean of 5 shots and all labels, each with its difference to the recommended layer
    and its 95 % interval.
    """
    from clser_bench.corpora.definitions import definitions
    from clser_bench.corpora.locate import load_corpora, locate
    from clser_bench.errors import SpecError, did_you_mean
    from clser_bench.features.sets import feature_set
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
        probed = run_probe(
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
    (recommended, *_) = feature_set(encoder).sources
    number = recommended.layer.number if recommended.layer else 0
    print_rows(
        ("layer", "pool", "5 shots", "difference", "all labels", "difference"),
        _lines(probed, f"{number} mean"),
    )
    complain(
        f"UAR of logistic regression, {len(pairs)} pairs, {normalise} normalisation; differences "
        f"to layer {number}, pool mean, with 95 % intervals."
    )


def _lines(probed: Sequence[Probed], reference: str) -> list[list[str]]:
    """Layer, pool, and for each number of shots UAR and difference to the reference; best first."""
    from clser_bench.report.statistics import Counts, spread

    counts: dict[Shots, dict[str, list[Counts]]] = {}
    for one in probed:
        item = Counts(
            pair=one.pair,
            seeds=tuple(range(one.total.shape[2])),
            speakers=one.speakers,
            correct=one.correct,
            total=one.total,
        )
        of_shots = counts.setdefault(one.shots, {})
        of_shots.setdefault(f"{one.layer} {one.pool}", []).append(item)
    spreads = [spread(found, pooled=shots == "all") for shots, found in counts.items()]
    names = spreads[0].methods
    lines = {name: name.split(" ") for name in names}
    for whole in spreads:
        gaps = whole.differences([(name, reference) for name in names])
        for name, mean, gap in zip(names, whole.estimates, gaps, strict=True):
            ends = "" if gap.low is None else f" [{gap.low:+.1f}, {gap.high:+.1f}]"
            lines[name] += [f"{mean:.1f}", f"{gap.estimate:+.1f}{ends}"]
    best = sorted(range(len(names)), key=lambda at: -sum(whole.estimates[at] for whole in spreads))
    return [lines[names[place]] for place in best]
