"""Results for others and of others: `card`, `draws`, `score`, `export`, `import`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clser_bench.cli import options
from clser_bench.cli.output import FAULTY, Bars, columns, complain, opened, print_rows
from clser_bench.cli.run import ALIKE, here
from clser_bench.corpora.definitions import definitions
from clser_bench.errors import SpecError, StoreError
from clser_bench.files import write_whole
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.sqlite import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clser_bench.report.provenance import Card
    from clser_bench.report.table import Leaderboard
    from clser_bench.run.request import Request
    from clser_bench.store.parquet import Submission

SUFFIX = ".parquet"

results_app = options.group(help="Check a results file.")


@options.examples(
    "clser-bench card --suite bcro --shots 5 --out bcro-5.json",
    "clser-bench card --results results/night.sqlite --methods sere,dann --shots 5 > sere.json",
)
@options.condition_options()
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
            first = "; ".join(texts[:3])
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
        values = {name: getattr(request, name) for name in (*ALIKE, "settings")}
        values |= {"condition": request.condition.texts(), "manifests": manifests, "folder": folder}
        values["pairs"] = tuple(f"{pair.source}->{pair.target}" for pair in request.pairs)
        try:
            requests.append(Requested(**values))
        except ValidationError as error:
            raise SpecError(f"the run's options do not fit a card: {faults(error)}") from error
    return make_card(store, table, **here(), requests=requests, commands=commands)


@options.examples(
    "clser-bench draws --suite bcro --shots 5 --seeds 5 --out draws --audio copy",
    "clser-bench draws --manifest mine.csv --shots 1,5 --out draws",
)
@options.request_options(
    without=("plugins", "methods", "corruptions", *options.MEANS), rules=options.RULES_OF_DATA
)
def draws(
    *,
    request: Request,
    out: Path,
    audio: Literal["none", "copy", "link"] = "none",
    table: Literal["csv", "parquet"] = "csv",
) -> None:
    """Write what is labelled, unlabelled and to be scored in each trial, for systems of any kind.

    Rows of targets have opaque ids and no label, speaker or name. The key of the ids and the
    request stay beside the results file, in FILE.draws.json: keep it, `clser-bench score` needs it.
    Features and normalisation only decide in which table the system is shown.

    Output:
        out DIR: The folder; made where absent.
        audio: copy: WAV files without metadata; link: hard links to whole files.
        table: Of the rows.
    """
    from clser_bench.run.draws import write_draws

    with Bars() as bars:
        made = write_draws(request, out, audio=audio, table=table, progress=bars, say=complain)
    complain(f"{len(made.trials)} trials in {out}; draws {made.digest[:12]}.")


@options.examples(
    "clser-bench score predictions.csv --draws draws --name my-system --card system.toml",
)
def score(
    predictions: Annotated[Path, options.argument("predictions")],
    *,
    draws: Path,
    name: str,
    card: Path,
    corpora: options.Corpora = None,
    manifest: options.Manifest = None,
    tasks: options.Tasks = None,  # noqa: ARG001 (its callback sets it)
    results: options.Results = options.RESULTS,
    format_: options.Format = "table",
) -> None:
    """Score the predictions of a system for draws; print its tables.

    Every id of every trial must be there once, with a class of the trial or finite scores. The
    corpora are drawn again, and must give the draws of the folder. The system is shown in tables
    as submitted, with its card below, and is not ranked.

    Options:
        draws DIR: The folder that `draws` wrote.
        name NAME: Of the system, in tables.
        card FILE: TOML: what the system is (about), what it was trained with (data, heard), which
            parts of the draws it used (uses), and title, reference, parameters, cost.
    """
    from clser_bench.report.render import render
    from clser_bench.report.table import leaderboard
    from clser_bench.run.draws import stored_draws
    from clser_bench.run.submission import read_card, submit

    described = read_card(card)
    own: dict[str, Any] = {"corpora": corpora, "manifests": tuple(manifest or ())}
    with Bars() as bars:
        found = stored_draws(draws, results, **own, progress=bars, say=complain)
    with Store(results) as store:
        done = submit(predictions, found, store, name=name, card=described)
        complain(f"{done.trials} trials of {name} stored in {results}.")
        every = dict.fromkeys(one.shots for one in found.trials.values())
        frames = [store.frame(found.condition.replace(shots=k).texts()) for k in every]
        made = [table for frame in frames for table in leaderboard(frame, store)]
    typer.echo(render(made, format_, width=columns()), nl=False)


@options.examples(
    "clser-bench export ours.parquet",
    "clser-bench export ours.parquet --suite bcro --methods sere,logistic",
    "clser-bench export ours.parquet --results results/night.sqlite --scores",
)
@options.condition_options()
def export(
    file: Annotated[Path, options.argument("export")],
    *,
    wanted: Mapping[str, str],
    methods: options.Methods = "",
    scores: bool = False,
    results: options.Results = options.RESULTS,
) -> None:
    """Write the results that tables show to one Parquet file for others.

    Another laboratory reads it with `clser-bench import` and gets the same tables. It holds
    predictions, true classes, and the corpora's names of utterances and speakers; no audio, no
    features, no tracebacks, and none of the options of your runs. Results whose UAR is not that of
    their predictions are refused.

    Options:
        scores: With the scores of all classes; a much larger file.
    """
    from clser_bench.cli.features import human_size
    from clser_bench.store.parquet import write

    if file.suffix != SUFFIX or file.is_dir():
        raise SpecError(f"{file}: name a file that ends in {SUFFIX}, such as ours{SUFFIX}")
    done = write(results, file, wanted=wanted, methods=options.words(methods), scores=scores)
    complain(
        f"{file} ({human_size(file.stat().st_size)}): {done.trials} trials of {done.methods} "
        f"methods, {done.ok} with a result."
    )
    if done.old:
        left = "rows of tables are of an older protocol version and were left out; run them again."
        complain(f"{done.old} {left}")


@options.examples(
    "clser-bench import theirs.parquet",
    "clser-bench import lab-a.parquet lab-b.parquet --results results/pooled.sqlite",
)
def import_(
    files: Annotated[list[Path], options.argument("exports")],
    *,
    results: options.Results = options.RESULTS,
) -> None:
    """Add the results of others to a results file.

    Every file is checked first: that metrics follow from predictions and true classes, that
    trials are what they claim, that the rules are of this version. If one is refused nothing is
    written. What cannot be checked is whether the predictions were made as the protocol wants.

    A result that is there is never overwritten. Where a file has another one both are listed
    (trial, UAR here, UAR in the file), the rest is imported, and the command ends with 1.
    """
    from clser_bench.store.parquet import read
    from clser_bench.store.pooling import merge

    found = list(map(read, files))
    for submission in found:
        _check_marks(submission)
    merged = merge(results, found)
    rows = []
    for path, trial, here_, there in merged.conflicts:
        own = (path, trial.method, trial.pair, trial.shots, trial.seed)
        rows.append((*own, trial.condition.features_label, f"{here_:.2f}", f"{there:.2f}"))
    names = ("file", "method", "pair", "shots", "seed", "features", "UAR here", "UAR in the file")
    print_rows(names, rows)
    counts = (
        (merged.scored, "of these had no scores and have them now"),
        (merged.missing, "planned in the files, but not run"),
        (len(merged.conflicts), "differ from what is there and were left out"),
    )
    parts = [f"{merged.added} results added to {results}", f"{merged.known} were there before"]
    complain("; ".join(parts + [f"{count} {text}" for count, text in counts if count]) + ".")
    for condition, method in merged.apart:
        complain(
            f"not shown in tables: {method}, {condition.suite}, {condition.shots} shots: the file "
            f"has another version, configuration or audio than {results}; import it into a file "
            "of its own to see it."
        )
    if merged.conflicts:
        raise typer.Exit(FAULTY)


@results_app.command("verify")
@options.examples("clser-bench results verify --results results/night.sqlite")
def verify(results: options.Results = options.RESULTS) -> None:
    """Check that a results file is as it was written.

    Every trial must have the id of its columns, every metric must be that of its predictions and
    true classes, every answer key and plan must have its hash, and the file must be whole. Ends
    with 1 and a line for each finding where something is not.
    """
    with opened(results) as store:
        found, tally = store.verify(), store.progress()
    print_rows(("place", "name", "problem"), [(i.place, i.name[:12], i.problem) for i in found])
    if found:
        remedy = "take the file from a backup, or delete it and run again."
        complain(f"{results}: {len(found)} fault(s); {remedy}")
        raise typer.Exit(FAULTY)
    complain(f"{results}: {tally.ok} results verified, no faults.")


def _check_marks(found: Submission) -> None:
    """Refuse what would hide that speech is synthetic, or that a row is no competitor."""
    from clser_bench.store.parquet import FaultyError

    specs = definitions().corpora
    for number, (trial, note, _) in enumerate(found.entries, 1):
        problem = ""
        if trial.method in ROUTINES and note.role == "ranked":
            problem = f"{trial.method}: role '{note.role}': it uses target labels"
        ends = (trial.pair.source, trial.pair.target)
        marks = [specs[code].synthetic for code in ends if code in specs]
        if trial.synthetic != any(marks) and (any(marks) or len(marks) == 2):
            known = "synthetic" if any(marks) else "recorded"
            problem = f"synthetic {trial.synthetic}: {trial.pair} is {known} speech"
        if problem:
            raise FaultyError(found.path, f"row {number}", problem)
