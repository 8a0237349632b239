"""`run`, `resume`, `confirm`, `reproduce` and `sweep`: commands that train."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clser_bench.cli import options
from clser_bench.cli.output import FAULTY, INTERRUPTED, Bars, columns, complain, opened, print_rows
from clser_bench.errors import SpecError, StoreError
from clser_bench.hashing import digest
from clser_bench.protocol import PROTOCOL_VERSION, Condition, Pair
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from clser_bench.report.agreement import Agreement
    from clser_bench.report.provenance import Card
    from clser_bench.run.request import Request

ALIKE = ("methods", "shots", "seeds", "corruptions", "skip_bad")
"""Fields that a request and that of a card have in one form."""
_ENERGY = "energy"


@options.examples(
    "clser-bench run",
    "clser-bench run --corpora ~/corpora --methods sere,dann --shots 5",
    "clser-bench run --suite bcro --methods all --shots 1,5,all --seeds 10",
    'clser-bench run --pairs "B->C" --set dann.steps=400 --plugin mine.py',
    "clser-bench run --features hf:facebook/hubert-large-ll60k:layer=12",
    "clser-bench run --suite bcro --corruption noise:20,10,0 --with time",
)
@options.request_options()
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
    """Run a request and print its tables; exits with 1 where trials failed.

    Args:
        with_: what they show beside scores, as `--with` takes it; `energy` is measured too.
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
    done = summary.ok + summary.failed + summary.not_applicable
    counts = (
        (summary.found, "were there before"),
        (summary.not_applicable, "not applicable"),
        (summary.failed, "failed (see `clser-bench status`)"),
    )
    parts = [f"{done} of {summary.planned} trials stored in {summary.results}"]
    line = "; ".join(parts + [f"{count} {text}" for count, text in counts if count]) + "."
    if summary.interrupted:
        complain(f"Interrupted: {line} The same command goes on.")
        raise typer.Exit(INTERRUPTED)
    complain(line)
    typer.echo(_tables(request, summary.condition, format_, extras), nl=False)
    if summary.failed:
        raise typer.Exit(FAULTY)


def _tables(request: Request, condition: Condition, format_: str, extras: tuple[str, ...]) -> str:
    """Leaderboards; with corruptions means by condition, which is what such a run is about."""
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard

    rules = condition.texts()
    for name in ("shots", "protocol_version", *(["corruption"] if request.corruptions else [])):
        del rules[name]
    shots = dict.fromkeys(map(str, request.shots))
    with opened(request.results) as store:
        if request.corruptions:
            from clser_bench.cli.tables import scales
            from clser_bench.report import robustness as report

            frames = [store.frame({**rules, "shots": count}) for count in shots]
            curves = [one for frame in frames for one in report.robustness(frame, store, scales())]
            return report.render(curves, format_, width=columns())
        # the intervals are those of all numbers of shots
        made = leaderboard(store.frame(rules), store, extras=extras)
        tables = [table for table in made if str(table.condition.shots) in shots]
        return render(tables, format_, width=columns())


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
    from clser_bench.run.provenance import explored, freeze

    request, runs = explored(results)
    asked = request.replace(
        condition=request.condition.replace(suite=suite),
        corpora=corpora,
        manifests=tuple(manifest or ()),
        scheduler=scheduler,
        workers=workers,
        devices=options.words(devices),
    )
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
    from clser_bench.report.provenance import make_card, read_card
    from clser_bench.report.table import leaderboard
    from clser_bench.run.execute import run as run_request
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
    requests = []
    for asked in claimed.requests:  # all, before one of them runs
        condition = Condition.from_texts(asked.condition)
        request = Request(
            condition=condition.replace(features=features or condition.features),
            pairs=tuple(map(Pair.parse, asked.pairs)),
            settings={name: dict(values) for name, values in asked.settings.items()},
            corpora=corpora if asked.folder else None,
            manifests=tuple(manifest or ()) if asked.manifests else (),
            results=place,
            scheduler=scheduler,
            workers=workers,
            devices=options.words(devices),
            **{name: getattr(asked, name) for name in ALIKE},
        )
        requests.append(request)
    for request in requests:
        with Bars() as bars:
            summary = run_request(request, progress=bars, say=complain)
        if summary.found:
            there = f"{summary.found} of {summary.planned} trials were in {place} before"
            complain(f"{there} and are not made again: they prove nothing new")
        if summary.interrupted:
            complain(f"Interrupted: go on with --results {place}")
            raise typer.Exit(INTERRUPTED)
    rules = claimed.condition
    wanted = {name: rules[name] for name in ("suite", "shots", "corruption", "selection")}
    names = [method.method for method in claimed.methods if not method.imported]
    with Store(place, create=False, read_only=True) as store:
        frame = store.frame(summary.condition.texts() | wanted)
        tables = leaderboard(frame[frame.method.isin(names)], store, intervals=False)
        if not tables:
            raise StoreError(
                f"{place}: the run made no table of suite {rules['suite']}, selection "
                f"{rules['selection']} and target {rules['corruption']}, as the card has it; its "
                "requests are not those of its table"
            )
        agreement = compare(claimed, make_card(store, tables[0], **own))
    _report(agreement)


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
        raise typer.Exit(FAULTY)


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


def here() -> dict[str, Any]:
    """The `software` and the `machine` of this process, as cards have them."""
    from clser_bench.report.provenance import Machine, Software
    from clser_bench.run.provenance import code, hardware

    return {"software": Software(**code()), "machine": Machine(**hardware())}


@options.examples(
    "clser-bench sweep --method sere --space irf --suite dev --samples 64 --objective dev",
    "clser-bench sweep --method dann --set adversary_weight=log:0.01:3 --set steps=100,200",
    "clser-bench sweep --method sere --space tric --suite bcro --shots 5 --seeds 9 --halving 3",
    "clser-bench run --suite bcro --methods sere --params results/sweeps/NAME/best.toml",
)
@options.request_options(without=("methods", "corruptions"), rules=options.RULES_OF_DATA)
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
    from clser_bench.report import sweep as report
    from clser_bench.run.plan import read_methods
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
    folder = out or Path("results/sweeps") / name
    pictures = report.figures(result)
    files: dict[str, bytes] = {
        "best.toml": report.params_toml(result, fixed=varied.fixed).encode(),
        "points.csv": report.as_csv(result).encode(),
        "sweep.json": report.as_json(result).encode(),
        "sweep.md": report.markdown(result, pictures=pictures).encode(),
        **pictures,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
    except OSError as error:
        remedy = "name another folder with --out (what was run is stored)"
        place = error.filename or folder
        raise StoreError(f"{place}: cannot be written ({error.strerror}); {remedy}") from error
    typer.echo(report.summary(result).rstrip("\n"))
    typer.echo(f"Report: {folder / 'sweep.md'} (and {', '.join(sorted(files))})")
    typer.echo(f"Use it: clser-bench run --methods {result.method} --params {folder / 'best.toml'}")


def _portable(words: list[str]) -> list[str]:
    """The command without the places of this machine."""
    places = ("--corpora", "--results", "--out")
    made = []
    for before, word in zip(["", *words], words, strict=False):
        name, equals, _ = word.partition("=")
        hidden = f"{name}=DIR" if equals and name in places else word
        made.append("DIR" if before in places else hidden)
    return made
