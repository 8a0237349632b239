"""`run`, `resume` and `sweep`: commands that train."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, columns, complain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clser_bench.problem import Value
    from clser_bench.protocol import Condition
    from clser_bench.run.execute import Summary
    from clser_bench.run.request import Request
    from clser_bench.sweeps import SweepResult

INTERRUPTED = 130
SOME_FAILED = 1
_ENERGY = "energy"

Patience = Annotated[
    float,
    typer.Option(
        "--patience",
        metavar="SECONDS",
        min=1.0,
        rich_help_panel=options.WHERE,
        help="End a trial that takes longer, and store it as failed.",
    ),
]


@options.examples(
    "clser-bench run",
    "clser-bench run --corpora ~/corpora --methods sere,dann --shots 5",
    "clser-bench run --suite bcro --methods all --shots 1,5,all --seeds 10",
    'clser-bench run --pairs "B->C" --set dann.steps=400 --plugin mine.py',
    "clser-bench run --features hf:facebook/hubert-large-ll60k:layer=12",
    "clser-bench run --suite bcro --corruption noise:20,10,0 --with time",
)
@options.condition_arguments()
def run(
    *,
    condition: Condition,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,
    plugin: options.Plugin = None,
    pairs: options.Pairs = "",
    methods: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            rich_help_panel=options.WHAT,
            help="Comma list, or all: see `list methods`.",
        ),
    ] = "chance,logistic,source-only,dann,sere",
    shots: options.SeveralShots = "5",
    seeds: options.Seeds = 5,
    devices: options.Devices = "",
    corrupt: Annotated[
        list[str] | None,
        typer.Option(
            "--corruption",
            "--corrupt",
            metavar="LIST",
            rich_help_panel=options.HOW,
            help="Run with a corrupted target too: noise:20,10,0 or telephone:8,6; also pink, "
            "babble, reverb, gain, speed, clip, which have levels of their own. Repeatable.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="METHOD.NAME=VALUE",
            rich_help_panel=options.HOW,
            help="A hyper-parameter; repeatable.",
        ),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=options.HOW,
            help="TOML with hyper-parameters: [METHOD] NAME = VALUE.",
        ),
    ] = None,
    results: options.Results = options.RESULTS,
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    ray_address: options.RayAddress = "",
    gpus_per_pack: options.GpusPerPack = 0.0,
    patience: Patience = 3600.0,
    skip_bad: options.SkipBad = False,
    with_: options.MeasuredWith = "",
    format_: options.Format = "table",
) -> None:
    """Run methods on a suite; print its table.

    What is stored is not run again: the same command goes on after an interruption, and more seeds
    or methods add to what is there. Without corpora it runs on synthetic speech.
    """
    _check_output(format_, with_)
    from clser_bench.run.request import Request, parse_settings

    request = Request(
        condition=condition,
        pairs=options.pairs(pairs),
        corpora=corpora,
        manifests=tuple(manifest or ()),
        tasks=tuple(tasks or ()),
        plugins=tuple(plugin or ()),
        methods=options.words(methods),
        shots=options.shots(shots),
        seeds=seeds,
        corruptions=tuple(corrupt or ()),
        settings=parse_settings(set_ or (), params),
        skip_bad=skip_bad,
        results=results,
        scheduler=scheduler,
        workers=workers,
        devices=options.words(devices),
        ray_address=ray_address,
        gpus_per_pack=gpus_per_pack,
        energy=_ENERGY in options.words(with_),
        patience=patience,
    )
    go(request, format_=format_, with_=with_)


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
    from clser_bench.run.request import Request
    from clser_bench.store.sqlite import Store

    with Store(results, create=False) as store:
        runs = [run for run in store.runs() if not run.imported]
    if not runs:
        raise StoreError(f"{results}: no run is stored in it; start one with `clser-bench run`")
    request = Request.from_json(runs[-1].request, results=results)
    options.use_tasks(request.tasks)
    options.use_plugins(request.plugins)
    if _ENERGY in options.words(with_):
        request = request.replace(energy=True)
    go(request, format_=format_, with_=with_)


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


def go(request: Request, *, format_: str, with_: str) -> None:
    """Run a request and print its tables.

    Args:
        request: what was asked for.
        format_: of the tables.
        with_: what they show beside scores, as `--with` takes it.

    Raises:
        Exit: interrupted, or trials failed.
    """
    from clser_bench.errors import SpecError
    from clser_bench.run.execute import run as run_request

    others = ",".join(name for name in options.words(with_) if name != _ENERGY)
    if request.corruptions and others:
        raise SpecError(
            f"--with {others} belongs to leaderboards, and a run with --corruption prints another "
            f"table; leave it out, and see `clser-bench leaderboard --with {others}` after the run"
        )
    with Bars() as bars:
        summary = run_request(request, progress=bars, say=complain)
    complain(_told(summary))
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    _print_tables(request, summary, format_=format_, with_=with_)
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


def _print_tables(request: Request, summary: Summary, *, format_: str, with_: str) -> None:
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard
    from clser_bench.store.sqlite import Store

    if request.corruptions:
        _print_robustness(request, summary, format_=format_)
        return
    wanted = _wanted(summary)
    with Store(request.results, create=False, read_only=True) as store:
        made = leaderboard(store.frame(wanted), store, extras=options.words(with_))
    shots = {str(count) for count in request.shots}
    tables = [table for table in made if str(table.condition.shots) in shots]
    typer.echo(render(tables, format_, width=columns()), nl=False)


def _wanted(summary: Summary) -> dict[str, str]:
    """The tables of a run, of any number of shots."""
    texts = summary.condition.texts()
    return {name: texts[name] for name in texts if name not in ("shots", "protocol_version")}


def _print_robustness(request: Request, summary: Summary, *, format_: str) -> None:
    """Means by condition: a leaderboard for each would hide what the run is about."""
    from clser_bench.cli.inspect import scales
    from clser_bench.report.robustness import render, robustness
    from clser_bench.store.sqlite import Store

    wanted = _wanted(summary)
    del wanted["corruption"]
    with Store(request.results, create=False, read_only=True) as store:
        made = [
            table
            for shots in dict.fromkeys(map(str, request.shots))
            for table in robustness(store.frame({**wanted, "shots": shots}), store, scales())
        ]
    typer.echo(render(made, format_, width=columns()), nl=False)


@options.examples(
    "clser-bench sweep --method sere --space irf --suite dev --samples 64 --objective dev",
    "clser-bench sweep --method dann --set adversary_weight=log:0.01:3 --set steps=100,200",
    "clser-bench sweep --method sere --space tric --suite bcro --shots 5 --seeds 9 --halving 3",
    "clser-bench run --suite bcro --methods sere --params results/sweeps/NAME/best.toml",
)
@options.condition_arguments(
    "suite", "features", "alignment", "normalisation", "setting", "prior", "classes"
)
def sweep(
    *,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "--methods",
            metavar="NAME",
            rich_help_panel=options.WHAT,
            help="One method: see `list methods`.",
        ),
    ],
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.WHAT,
            help="What is varied: a space that the method declares (see `show METHOD`), grid, all, "
            "or a TOML file with a table [METHOD].",
        ),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=TEXT",
            rich_help_panel=options.WHAT,
            help="LOW:HIGH, log:LOW:HIGH, A,B,C, or one value to fix it; repeatable. Alone, it is "
            "the whole space.",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=options.HOW,
            help="What is better: agreement, mutual-information, entropy, neighbourhood-density "
            "(none sees a target label); source-risk, source-accuracy, embedded-validation (labels "
            "of the source, 10 shots at least); dev (UAR on the suite dev); oracle (the suite's "
            "own labels: a reference, no result).",
        ),
    ] = "agreement",
    search: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            rich_help_panel=options.HOW,
            help="sobol, random, grid, or tpe, which learns (optuna, its former name, works too).",
        ),
    ] = "sobol",
    samples: Annotated[
        int,
        typer.Option(
            min=1,
            rich_help_panel=options.HOW,
            help="Configurations besides the default; the most for a grid.",
        ),
    ] = 64,
    population: Annotated[
        int,
        typer.Option(
            min=1,
            rich_help_panel=options.HOW,
            help="Configurations that run before tpe looks at them.",
        ),
    ] = 32,
    halving: Annotated[
        int,
        typer.Option(
            min=0,
            rich_help_panel=options.HOW,
            help="Start all with few draws; one configuration in this many goes on. 0: all do.",
        ),
    ] = 0,
    search_seed: Annotated[
        int, typer.Option(min=0, rich_help_panel=options.HOW, help="Of the sampler.")
    ] = 0,
    condition: Condition,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    plugin: options.Plugin = None,  # noqa: ARG001 (likewise)
    pairs: options.Pairs = "",
    shots: options.OneShots = "5",
    seeds: options.Seeds = 5,
    devices: options.Devices = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=options.OUTPUT,
            help="Where the report goes; results/sweeps/METHOD-SPACE-SUITE-... where not given.",
        ),
    ] = None,
    results: options.Results = options.RESULTS,
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    ray_address: options.RayAddress = "",
    gpus_per_pack: options.GpusPerPack = 0.0,
    patience: Patience = 3600.0,
    skip_bad: options.SkipBad = False,
) -> None:
    """Search the hyper-parameters of a method: the best configuration, and how sure that is.

    Trials are stored like those of `run`: the same command goes on after an interruption. No label
    of a target is looked at unless the objective is dev or oracle.
    """
    from clser_bench.run.request import Request
    from clser_bench.run.sweep import SweepRequest, declared
    from clser_bench.run.sweep import sweep as run_sweep
    from clser_bench.sweeps import read_space

    request = SweepRequest(
        request=Request(
            condition=condition,
            pairs=options.pairs(pairs),
            corpora=corpora,
            manifests=tuple(manifest or ()),
            methods=(method,),
            shots=options.shots(shots),
            seeds=seeds,
            skip_bad=skip_bad,
            results=results,
            scheduler=scheduler,
            workers=workers,
            devices=options.words(devices),
            ray_address=ray_address,
            gpus_per_pack=gpus_per_pack,
            patience=patience,
        ),
        space=read_space(
            declared(method),
            space or ("" if set_ else "grid"),
            [text.removeprefix(f"{method}.") for text in set_ or ()],
        ),
        objective=objective,
        search="tpe" if search == "optuna" else search,
        samples=samples,
        population=population,
        halving=halving,
        seed=search_seed,
        command=shlex.join(["clser-bench", *_portable(sys.argv[1:])]),
    )
    with Bars() as bars:
        result = run_sweep(request, progress=bars, say=complain)
    folder = out or _folder(result, space or ("set" if set_ else "grid"), request.command)
    _report(result, folder, fixed=request.space.fixed)


def _portable(words: list[str]) -> list[str]:
    """The command without the places of this machine."""
    made, hidden = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if hidden:
            made.append("DIR")
            hidden = False
        elif name in ("--corpora", "--results", "--out"):
            made.append(f"{name}=DIR" if equals else name)
            hidden = not equals
        else:
            made.append(word)
    return made


def _folder(result: SweepResult, space: str, command: str) -> Path:
    from clser_bench.hashing import digest

    words = f"{result.method}-{Path(space).stem}-{result.suite}-{result.objective}"
    return Path("results/sweeps") / f"{words}-{digest(command)[:8]}"


def _report(result: SweepResult, folder: Path, *, fixed: Sequence[tuple[str, Value]]) -> None:
    from clser_bench.errors import StoreError
    from clser_bench.report import sweep as report

    pictures = report.figures(result)
    files: dict[str, bytes] = {
        "best.toml": report.params_toml(result, fixed=fixed).encode(),
        "points.csv": report.as_csv(result).encode(),
        "sweep.json": report.as_json(result).encode(),
        "sweep.md": report.markdown(result, pictures=pictures).encode(),
        **pictures,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StoreError(
            f"{error.filename or folder}: cannot be written ({error.strerror}); name another "
            "folder with --out (what was run is stored)"
        ) from error
    typer.echo(report.summary(result).rstrip("\n"))
    typer.echo(f"Report: {folder / 'sweep.md'} (and {', '.join(sorted(files))})")
    typer.echo(f"Use it: clser-bench run --methods {result.method} --params {folder / 'best.toml'}")
