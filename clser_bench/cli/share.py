"""Results of others: `draws` and `score` for systems, `export` and `import` for results files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clser_bench.cli import options, rules
from clser_bench.cli.output import Bars, columns, complain, opened, print_rows
from clser_bench.corpora.definitions import definitions
from clser_bench.errors import SpecError
from clser_bench.scoring.within_target import ROUTINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clser_bench.run.request import Request
    from clser_bench.store.parquet import Submission
    from clser_bench.store.pooling import Merged

FAULTY = 1
SUFFIX = ".parquet"

results_app = options.group(help="Check a results file.")


@options.examples(
    "clser-bench draws --suite bcro --shots 5 --seeds 5 --out draws --audio copy",
    "clser-bench draws --manifest mine.csv --shots 1,5 --out draws",
)
@rules.request_options(
    without=("plugins", "methods", "corruptions", *rules.MEANS), rules=rules.RULES_OF_DATA
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
    from clser_bench.store.sqlite import Store

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
@rules.condition_options()
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
    _report(merged, results)
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
        where = f"row {number}"
        if trial.method in ROUTINES and note.role == "ranked":
            problem = f"{trial.method}: role '{note.role}': it uses target labels"
            raise FaultyError(found.path, where, problem)
        ends = (trial.pair.source, trial.pair.target)
        marks = [specs[code].synthetic for code in ends if code in specs]
        if trial.synthetic != any(marks) and (any(marks) or len(marks) == 2):
            known = "synthetic" if any(marks) else "recorded"
            problem = f"synthetic {trial.synthetic}: {trial.pair} is {known} speech"
            raise FaultyError(found.path, where, problem)


def _report(merged: Merged, results: Path) -> None:
    names = ("file", "method", "pair", "shots", "seed", "features", "UAR here", "UAR in the file")
    rows = []
    for path, trial, here, there in merged.conflicts:
        own = (path, trial.method, trial.pair, trial.shots, trial.seed)
        rows.append((*own, trial.condition.features_label, f"{here:.2f}", f"{there:.2f}"))
    print_rows(names, rows)
    counts = (
        (merged.scored, "of these had no scores and have them now"),
        (merged.missing, "planned in the files, but not run"),
        (len(merged.conflicts), "differ from what is there and were left out"),
    )
    parts = [f"{merged.added} results added to {results}", f"{merged.known} were there before"]
    parts += [f"{count} {text}" for count, text in counts if count]
    complain("; ".join(parts) + ".")
    for condition, method in merged.apart:
        complain(
            f"not shown in tables: {method}, {condition.suite}, {condition.shots} shots: the file "
            f"has another version, configuration or audio than {results}; import it into a file "
            "of its own to see it."
        )
