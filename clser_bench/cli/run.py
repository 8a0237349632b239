"""`run`, `resume` and `sweep`: commands that train."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options, rules
from clser_bench.cli.output import INTERRUPTED, Bars, columns, complain, opened
from clser_bench.errors import SpecError, StoreError
from clser_bench.hashing import digest
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clser_bench.problem import Value
    from clser_bench.run.execute import Summary
    from clser_bench.run.request import Request
    from clser_bench.sweeps import SweepResult

SOME_FAILED = 1
_ENERGY = "energy"


@options.examples(
    "clser-bench run",
    "clser-bench run --corpora ~/corpora --methods sere,dann --shots 5",
    "clser-bench run --suite bcro --methods all --shots 1,5,all --seeds 10",
    'clser-bench run --pairs "B->C" --set dann.steps=400 --plugin mine.py',
    "clser-bench run --features hf:facebook/hubert-large-ll60k:layer=12",
    "clser-bench run --suite bcro --corruption noise:20,10,0 --with time",
)
@rules.request_options()
def run(
    *,
    request: Request,
    set_: list[str] | None = None,
    params: Path | None = None,
    with_: options.MeasuredWith = "",
    format_: options.Format = "table",
) -> None:
    """Run methods on a suite; print its table.

    What is stored is not run again: the same command goes on after an interruption, and more seeds
    or methods add to what is there. Without corpora it runs on synthetic speech.

    How:
        set_ METHOD.NAME=VALUE: A hyper-parameter; repeatable.
        params FILE: TOML with hyper-parameters: [METHOD] NAME = VALUE.
    """
    from clser_bench.run.request import parse_settings

    settings = parse_settings(set_ or (), params)
    go(request.replace(settings=settings), format_=format_, with_=with_)


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
    from clser_bench.run.request import Request

    with Store(results, create=False, read_only=True) as store:
        runs = [run for run in store.runs() if not run.imported]
    if not runs:
        raise StoreError(f"{results}: no run is stored in it; start one with `clser-bench run`")
    request = Request.from_json(runs[-1].request, results=results)
    options.use_tasks(request.tasks)
    options.use_plugins(request.plugins)
    go(request, format_=format_, with_=with_)


def go(request: Request, *, format_: str, with_: str) -> None:
    """Run a request and print its tables.

    Args:
        with_: what they show beside scores, as `--with` takes it; `energy` is measured too.

    Raises:
        Exit: interrupted, or trials failed.
    """
    from clser_bench.run.execute import run as run_request

    extras = options.words(with_)
    options.check("format", (format_,), options.FORMATS)
    options.check("extra", extras, ("time", _ENERGY, "point"))
    others = ",".join(name for name in extras if name != _ENERGY)
    if request.corruptions and others:
        where = "belongs to leaderboards, and a run with --corruption prints another table"
        see = f"see `clser-bench leaderboard --with {others}` after the run"
        raise SpecError(f"--with {others} {where}; leave it out, and {see}")
    if _ENERGY in extras:
        request = request.replace(energy=True)
    with Bars() as bars:
        summary = run_request(request, progress=bars, say=complain)
    complain(_sentence(summary))
    if summary.interrupted:
        raise typer.Exit(INTERRUPTED)
    _print_tables(request, summary, format_=format_, extras=extras)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


def _sentence(summary: Summary) -> str:
    done = summary.ok + summary.failed + summary.not_applicable
    counts = (
        (summary.found, "were there before"),
        (summary.not_applicable, "not applicable"),
        (summary.failed, "failed (see `clser-bench status`)"),
    )
    parts = [f"{done} of {summary.planned} trials stored in {summary.results}"]
    line = "; ".join(parts + [f"{count} {text}" for count, text in counts if count]) + "."
    return f"Interrupted: {line} The same command goes on." if summary.interrupted else line


def _print_tables(
    request: Request, summary: Summary, *, format_: str, extras: Sequence[str]
) -> None:
    """Leaderboards; with corruptions means by condition, which is what such a run is about."""
    from clser_bench.cli.tables import scales
    from clser_bench.report.render import render
    from clser_bench.report.robustness import render as render_curves
    from clser_bench.report.robustness import robustness
    from clser_bench.report.table import leaderboard

    rules_ = summary.condition.texts()
    for name in ("shots", "protocol_version", *(["corruption"] if request.corruptions else [])):
        del rules_[name]
    shots = dict.fromkeys(map(str, request.shots))
    with opened(request.results) as store:
        if request.corruptions:
            frames = [store.frame({**rules_, "shots": count}) for count in shots]
            curves = [one for frame in frames for one in robustness(frame, store, scales())]
            text = render_curves(curves, format_, width=columns())
        else:
            # the intervals are those of all numbers of shots
            made = leaderboard(store.frame(rules_), store, extras=extras)
            tables = [table for table in made if str(table.condition.shots) in shots]
            text = render(tables, format_, width=columns())
    typer.echo(text, nl=False)


@options.examples(
    "clser-bench sweep --method sere --space irf --suite dev --samples 64 --objective dev",
    "clser-bench sweep --method dann --set adversary_weight=log:0.01:3 --set steps=100,200",
    "clser-bench sweep --method sere --space tric --suite bcro --shots 5 --seeds 9 --halving 3",
    "clser-bench run --suite bcro --methods sere --params results/sweeps/NAME/best.toml",
)
@rules.request_options(without=("methods", "corruptions"), rules=rules.RULES_OF_DATA)
def sweep(
    *,
    method: Annotated[
        str, typer.Option("--method", "--methods", autocompletion=options.METHOD_NAMES)
    ],
    space: str = "",
    set_: list[str] | None = None,
    objective: str = "agreement",
    search: str = "sobol",
    samples: Annotated[int, typer.Option(min=1)] = 64,
    population: Annotated[int, typer.Option(min=1)] = 32,
    halving: Annotated[int, typer.Option(min=0)] = 0,
    search_seed: Annotated[int, typer.Option(min=0)] = 0,
    request: Request,
    out: Path | None = None,
) -> None:
    """Search the hyper-parameters of a method: the best configuration, and how sure that is.

    Trials are stored like those of `run`: the same command goes on after an interruption. No label
    of a target is looked at unless the objective is dev or oracle.

    What:
        method NAME: One method: see `list methods`.
        space NAME: What is varied: a space that the method declares (see `show METHOD`), grid, all,
            or a TOML file with a table [METHOD].
        set_ NAME=TEXT: LOW:HIGH, log:LOW:HIGH, A,B,C, or one value to fix it; repeatable. Alone, it
            is the whole space.

    How:
        objective NAME: What is better: agreement, mutual-information, entropy,
            neighbourhood-density (none sees a target label); source-risk, source-accuracy,
            embedded-validation (labels of the source, 10 shots at least); dev (UAR on the suite
            dev); oracle (the suite's own labels: a reference, no result).
        search HOW: sobol, random, grid, or tpe, which learns (optuna, its former name, works too).
        samples N: Configurations besides the default; the most for a grid.
        population N: Configurations that run before tpe looks at them.
        halving N: Start all with few draws; one configuration in this many goes on. 0: all do.
        search_seed N: Of the sampler.

    Output:
        out DIR: Where the report goes; results/sweeps/METHOD-SPACE-SUITE-... where not given.
    """
    from clser_bench.run.methods import read_methods
    from clser_bench.run.space import Search, read_space
    from clser_bench.run.sweep import SweepRequest
    from clser_bench.run.sweep import sweep as run_sweep

    (info,) = read_methods([(method, {})])
    varied = read_space(info, space or ("" if set_ else "grid"), set_ or ())
    sampler = "tpe" if search == "optuna" else search
    numbers = {"samples": samples, "population": population, "halving": halving}
    asked = SweepRequest(
        request=request.replace(methods=(method,)),
        space=varied,
        objective=objective,
        search=Search(dimensions=varied.dimensions, sampler=sampler, seed=search_seed, **numbers),
        command=shlex.join(["clser-bench", *_portable(sys.argv[1:])]),
    )
    with Bars() as bars:
        result = run_sweep(asked, progress=bars, say=complain)
    words = (result.method, Path(space or ("set" if set_ else "grid")).stem, result.suite)
    name = "-".join((*words, result.objective, digest(asked.command)[:8]))
    _report(result, out or Path("results/sweeps") / name, fixed=varied.fixed)


def _portable(words: list[str]) -> list[str]:
    """The command without the places of this machine."""
    places = ("--corpora", "--results", "--out")
    made = []
    for before, word in zip(["", *words], words, strict=False):
        name, equals, _ = word.partition("=")
        hidden = f"{name}=DIR" if equals and name in places else word
        made.append("DIR" if before in places else hidden)
    return made


def _report(result: SweepResult, folder: Path, *, fixed: Sequence[tuple[str, Value]]) -> None:
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
        remedy = "name another folder with --out (what was run is stored)"
        place = error.filename or folder
        raise StoreError(f"{place}: cannot be written ({error.strerror}); {remedy}") from error
    typer.echo(report.summary(result).rstrip("\n"))
    typer.echo(f"Report: {folder / 'sweep.md'} (and {', '.join(sorted(files))})")
    typer.echo(f"Use it: clser-bench run --methods {result.method} --params {folder / 'best.toml'}")
