"""`sweep`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clser_bench.problem import Value
    from clser_bench.protocol import Condition
    from clser_bench.swept import Swept


@options.examples(
    "clser-bench sweep --method sere --space irf --suite dev --samples 64 --objective dev",
    "clser-bench sweep --method dann --set adversary_weight=log:0.01:3 --set steps=100,200",
    "clser-bench sweep --method sere --space tric --suite bcro --shots 5 --seeds 9 --halving 3",
    "clser-bench run --suite bcro --methods sere --params results/sweeps/NAME/best.toml",
)
@options.condition_arguments("suite", "features", "alignment", "normalisation", "prior", "classes")
def sweep(
    *,
    method: Annotated[str, typer.Option(metavar="NAME", help="One method: see `list methods`.")],
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What is varied: a space that the method declares (see `show METHOD`), grid, all, "
            "or a TOML file with a table [METHOD].",
        ),
    ] = "",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=TEXT",
            help="LOW:HIGH, log:LOW:HIGH, A,B,C, or one value to fix it; repeatable. Alone, it is "
            "the whole space.",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What is better: agreement, mutual-information, entropy, neighbourhood-density "
            "(none sees a target label); source-risk, source-accuracy, embedded-validation (labels "
            "of the source, 10 shots at least); dev (UAR on the suite dev); oracle (the suite's "
            "own labels: an upper bound).",
        ),
    ] = "agreement",
    search: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="sobol, random, grid, or optuna (needs the extra optuna)."
        ),
    ] = "sobol",
    samples: Annotated[
        int, typer.Option(min=1, help="Points, besides the shipped one; the most for a grid.")
    ] = 64,
    population: Annotated[
        int, typer.Option(min=1, help="Points that run together before a search looks at them.")
    ] = 32,
    halving: Annotated[
        int,
        typer.Option(
            min=0,
            help="Start all points with few draws; a rung keeps one in this many. 0: no halving.",
        ),
    ] = 0,
    search_seed: Annotated[int, typer.Option(min=0, help="Of the random points.")] = 0,
    condition: Condition,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    pairs: options.Pairs = "",
    shots: Annotated[
        str, typer.Option(metavar="K", help="Labelled utterances per emotion: 5, or all.")
    ] = "5",
    seeds: options.Seeds = 5,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the report goes; results/sweeps/METHOD-SPACE-SUITE-... where not given.",
        ),
    ] = None,
    results: options.Results = options.RESULTS,
    scheduler: options.Scheduler = "ray",
    workers: options.Workers = None,
    ray_address: options.RayAddress = "",
    gpus_per_pack: options.GpusPerPack = 0.0,
    skip_bad: options.SkipBad = False,
) -> None:
    """Search the hyper-parameters of a method; say which point is best, and how sure that is.

    Trials are stored like those of `run`: the same command goes on after an interruption. No label
    of a target is looked at unless the objective is dev or oracle.
    """
    from clser_bench.run.config import RunConfig
    from clser_bench.run.sweep.main import Request
    from clser_bench.run.sweep.main import sweep as run_sweep
    from clser_bench.run.sweep.space import read_space

    request = Request(
        config=RunConfig(
            suite=condition.suite or None,
            pairs=options.pairs(pairs),
            corpora=corpora,
            manifests=tuple(manifest or ()),
            methods=(method,),
            shots=options.shots(shots),
            seeds=seeds,
            condition=condition.replace(suite="", alignment=""),
            results=results,
            scheduler=scheduler,  # type: ignore[arg-type]  # checked by RunConfig
            workers=workers,
            skip_bad=skip_bad,
            align=condition.alignment,
            ray_address=ray_address,
            gpus_per_pack=gpus_per_pack,
        ),
        space=read_space(method, space or ("" if set_ else "grid"), set_ or ()),
        objective=objective,
        search=search,
        samples=samples,
        population=population,
        halving=halving,
        seed=search_seed,
        command=shlex.join(["clser-bench", *_portable(sys.argv[1:])]),
    )
    with Bars() as bars:
        swept = run_sweep(request, progress=bars, say=complain)
    folder = out or _folder(swept, space or ("set" if set_ else "grid"), request.command)
    _report(swept, folder, fixed=request.space.fixed)


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


def _folder(swept: Swept, space: str, command: str) -> Path:
    from clser_bench.hashing import digest

    words = f"{swept.method}-{Path(space).stem}-{swept.suite}-{swept.objective}"
    return Path("results/sweeps") / f"{words}-{digest(command)[:8]}"


def _report(swept: Swept, folder: Path, *, fixed: Sequence[tuple[str, Value]]) -> None:
    from clser_bench.errors import StoreError
    from clser_bench.report import sweep_text
    from clser_bench.report.drawing import render
    from clser_bench.report.sweep_figures import parallel_coordinates, parameter_scatter
    from clser_bench.report.sweep_page import page

    figures = {
        "parallel-coordinates": parallel_coordinates(swept),
        "parameters": parameter_scatter(swept),
    }
    files: dict[str, bytes] = {
        "best.toml": sweep_text.params_toml(swept, fixed=fixed).encode(),
        "points.csv": sweep_text.as_csv(swept).encode(),
        "sweep.json": sweep_text.as_json(swept).encode(),
        "sweep.md": sweep_text.markdown(swept).encode(),
        "sweep.html": page(swept, figures).encode(),
        **{f"{name}.png": render(figure, "png") for name, figure in figures.items()},
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
    typer.echo(sweep_text.summary(swept).rstrip("\n"))
    typer.echo(f"Report: {folder / 'sweep.html'} (and {', '.join(sorted(files))})")
    typer.echo(f"Use it: clser-bench run --methods {swept.method} --params {folder / 'best.toml'}")
