"""`run` and `resume`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, columns, complain

if TYPE_CHECKING:
    from clser_bench.protocol import Condition
    from clser_bench.run.config import RunConfig
    from clser_bench.run.main import Summary

INTERRUPTED = 130
SOME_FAILED = 1
_ENERGY = "energy"


@options.examples(
    "clser-bench run",
    "clser-bench run --corpora ~/corpora --methods sere,dann --shots 5",
    "clser-bench run --suite bcro --methods all --shots 1,5,all --seeds 10",
    "clser-bench run --suite bcro --methods logistic,dann --select other-pairs",
    'clser-bench run --pairs "B->C" --set dann.steps=400',
    "clser-bench run --features hf:facebook/hubert-large-ll60k:layer=12",
    "clser-bench run --features set:heterogeneous-acoustic --align names",
    "clser-bench run --suite bcro --corrupt noise:20,10,0 --corrupt reverb",
    "clser-bench run --methods logistic,dann --with time,energy",
)
@options.condition_arguments()
def run(
    *,
    condition: Condition,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    pairs: options.Pairs = "",
    methods: Annotated[
        str, typer.Option(metavar="NAMES", help="Comma list, or all: see `list methods`.")
    ] = "chance,logistic,source-only,dann,sere",
    shots: Annotated[
        str, typer.Option(metavar="K", help="Labelled utterances per emotion: 5, or 1,5,all.")
    ] = "5",
    seeds: options.Seeds = 5,
    devices: options.Devices = "",
    corrupt: Annotated[
        list[str] | None,
        typer.Option(
            "--corrupt",
            metavar="LIST",
            help="Run with a corrupted target too: noise:20,10,0 or telephone:8,6; also pink, "
            "babble, reverb, gain, speed, clip, which have levels of their own. Repeatable.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METHOD.NAME=VALUE", help="A hyper-parameter; repeatable."),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML with hyper-parameters: [METHOD] NAME = VALUE."),
    ] = None,
    results: options.Results = options.RESULTS,
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    ray_address: options.RayAddress = "",
    gpus_per_pack: options.GpusPerPack = 0.0,
    skip_bad: options.SkipBad = False,
    with_: options.MeasuredWith = "",
    format_: options.Format = "table",
) -> None:
    """Run methods on a suite; print its table.

    What is stored is not run again: the same command goes on after an interruption, and more
    seeds or methods add to what is there. Without corpora it runs on synthetic speech. With
    --corrupt it prints how methods stand a target that is worse than the source.
    """
    _check_output(format_, with_)
    from clser_bench.run.config import RunConfig, parse_settings

    config = RunConfig(
        suite=condition.suite or None,
        pairs=options.pairs(pairs),
        corpora=corpora,
        manifests=tuple(manifest or ()),
        methods=options.words(methods),
        shots=options.shots(shots),
        seeds=seeds,
        condition=condition.replace(suite="", alignment=""),
        settings=parse_settings(set_ or (), params),
        results=results,
        scheduler=scheduler,  # type: ignore[arg-type]  # checked by RunConfig
        workers=workers,
        skip_bad=skip_bad,
        align=condition.alignment,
        devices=options.words(devices),
        ray_address=ray_address,
        gpus_per_pack=gpus_per_pack,
        corruptions=tuple(corrupt or ()),
        energy=_ENERGY in options.words(with_),
    )
    _go(config, format_=format_, with_=with_)


@options.examples(
    "clser-bench resume",
    "clser-bench resume --results results/night.sqlite",
)
def resume(
    results: options.Results = options.RESULTS,
    with_: options.MeasuredWith = "",
    format_: options.Format = "table",
) -> None:
    """Go on with the last run.

    Repeats its options: what is missing is run, what failed once is tried again. Joules are
    measured where that run did so, or where --with energy asks for them.
    """
    _check_output(format_, with_)
    from clser_bench.errors import StoreError
    from clser_bench.run.config import RunConfig
    from clser_bench.store.sqlite import Store

    with Store(results, create=False, read_only=True) as store:
        runs = [run for run in store.runs() if not run.imported]
    if not runs:
        raise StoreError(f"{results}: no run is stored in it; start one with `clser-bench run`")
    config = RunConfig.from_json(runs[-1].request, results=results)
    if _ENERGY in options.words(with_):
        config = dataclasses.replace(config, energy=True)
    _go(config, format_=format_, with_=with_)


def _check_output(format_: str, with_: str) -> None:
    """Refuse a wrong format before the work, not after it."""
    from clser_bench.errors import SpecError, did_you_mean

    for what, value, allowed in (
        ("format", (format_,), options.FORMATS),
        ("extra", options.words(with_), ("time", _ENERGY, "point")),
    ):
        for name in value:
            if name not in allowed:
                raise SpecError(f"there is no {what} '{name}'{did_you_mean(name, allowed)}")


def _go(config: RunConfig, *, format_: str, with_: str) -> None:
    from clser_bench.errors import SpecError
    from clser_bench.run.main import run as run_plan

    others = ",".join(name for name in options.words(with_) if name != _ENERGY)
    if config.corruptions and others:
        raise SpecError(
            f"--with {others} belongs to leaderboards, and a run with --corrupt prints another "
            f"table; leave it out, and see `clser-bench leaderboard --with {others}` after the run"
        )
    with Bars() as bars:
        summary = run_plan(config, progress=bars, say=complain)
    complain(_told(summary))
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    _print_tables(config, summary, format_=format_, with_=with_)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _told(summary: Summary) -> str:
    done = summary.ok + summary.failed + summary.not_applicable
    parts = [f"{done} of {summary.planned} trials stored in {summary.results}"]
    if summary.found:
        parts.append(f"{summary.found} were there before")
    if summary.not_applicable:
        parts.append(f"{summary.not_applicable} not applicable")
    if summary.failed:
        parts.append(f"{summary.failed} failed (see `clser-bench status`)")
    line = "; ".join(parts) + "."
    return f"Interrupted: {line} The same command goes on." if summary.interrupted else line


def _print_tables(config: RunConfig, summary: Summary, *, format_: str, with_: str) -> None:
    from clser_bench.report.tables import leaderboard, render
    from clser_bench.store.sqlite import Store

    if config.corruptions:
        _print_robustness(config, summary, format_=format_)
        return
    wanted = _wanted(summary)
    with Store(config.results, create=False, read_only=True) as store:
        made = leaderboard(store, wanted=wanted, with_=options.words(with_))
    shots = {str(count) for count in config.shots}
    tables = [table for table in made if table.rules.shots in shots]
    typer.echo(render(tables, format_, width=columns()), nl=False)


def _wanted(summary: Summary) -> dict[str, str]:
    """The tables of a run, of any number of shots."""
    texts = summary.condition.texts()
    return {name: texts[name] for name in texts if name not in ("shots", "protocol_version")}


def _print_robustness(config: RunConfig, summary: Summary, *, format_: str) -> None:
    """Means by condition: a leaderboard for each would hide what the run is about."""
    from clser_bench.cli.robustness import scales
    from clser_bench.report.robustness import robustness
    from clser_bench.report.robustness_text import render
    from clser_bench.store.sqlite import Store

    wanted = _wanted(summary)
    del wanted["corruption"]
    with Store(config.results, create=False, read_only=True) as store:
        made = [
            table
            for shots in dict.fromkeys(map(str, config.shots))
            for table in robustness(store, scales(), wanted={**wanted, "shots": shots})
        ]
    typer.echo(render(made, format_, width=columns()), nl=False)
