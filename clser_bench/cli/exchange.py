"""`export` and `import`: results as Parquet files, to pool those of several laboratories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options
from clser_bench.cli.output import Bars, complain, print_rows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from clser_bench.problem import AnswerKey
    from clser_bench.store.pooling import Merged
    from clser_bench.store.records import Metrics
    from clser_bench.store.submission import Submission

CONFLICT = 1
SUFFIX = ".parquet"


@options.examples(
    "clser-bench export ours.parquet",
    "clser-bench export ours.parquet --suite bcro --methods sere,logistic",
    "clser-bench export ours.parquet --results results/night.sqlite --scores",
)
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="Where to write.")],
    *,
    suite: Annotated[
        str | None, typer.Option("--suite", metavar="NAME", help="Only this suite.")
    ] = None,
    methods: options.Methods = "",
    scores: Annotated[
        bool,
        typer.Option("--scores", help="With the scores of all classes; a much larger file."),
    ] = False,
    results: options.Results = options.RESULTS,
) -> None:
    """Write the results that tables show to one Parquet file for others.

    Another laboratory reads it with `clser-bench import` and gets the same tables. It holds
    predictions, true classes, and the corpora's names of utterances and speakers; no audio, no
    features, no tracebacks, and none of the options of your runs.
    """
    from clser_bench.cli.features import human_size
    from clser_bench.errors import SpecError
    from clser_bench.report.aggregate import one_line
    from clser_bench.store.exporting import write

    if file.suffix != SUFFIX or file.is_dir():
        raise SpecError(f"{file}: name a file that ends in {SUFFIX}, such as ours{SUFFIX}")
    with Bars() as bars:
        written = write(
            results,
            file,
            suite=suite,
            methods=options.words(methods) or None,
            scores=scores,
            shorten=one_line,
            start=lambda total: bars.start(f"writing {file}", total),
            advance=bars.advance,
        )
    size = human_size(file.stat().st_size)
    complain(
        f"{file} ({size}): {written.trials} trials of {written.methods} methods, {written.ok} "
        "with a result."
    )
    if written.old:
        complain(
            f"{written.old} rows of tables are of an older protocol version and were left out; "
            "run them again."
        )


@options.examples(
    "clser-bench import theirs.parquet",
    "clser-bench import lab-a.parquet lab-b.parquet --results results/pooled.sqlite",
)
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE.parquet...", help="What `export` wrote.")
    ],
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
    from clser_bench.store.pooling import merge

    with Bars() as bars:
        found = [_read(path, bars) for path in files]
        bars.stop()
        merged = merge(results, found)
    _tell(merged, results)
    if merged.conflicts:
        raise typer.Exit(CONFLICT)


def _read(path: Path, bars: Bars) -> Submission:
    from clser_bench.store.importing import count, read

    bars.start(f"checking {path}", count(path))
    found = read(path, measure=_measure, advance=bars.advance)
    _check_marks(found)
    return found


def _measure(predicted: npt.NDArray[np.uint8], key: AnswerKey) -> Metrics:
    """Metrics of predictions, by the measure of every run."""
    import numpy as np

    from clser_bench.scoring.metrics import measure

    return measure(np.eye(len(key.classes), dtype=np.float32)[predicted], key)


def _check_marks(found: Submission) -> None:
    """Refuse what would hide that speech is synthetic, or that a row is no competitor."""
    from clser_bench.corpora.definitions import corpus_specs
    from clser_bench.scoring.routines import ROUTINES
    from clser_bench.store.submission import FaultyError

    specs = corpus_specs()
    for part in found.heading.parts:
        if part.method in ROUTINES and part.role != "oracle":
            raise FaultyError(found.path, part.method, f"role '{part.role}': it is an oracle")
    for row, entry in enumerate(found.entries, 1):
        pair, said = entry.trial.pair, entry.trial.synthetic
        marks = [specs[code].synthetic for code in (pair.source, pair.target) if code in specs]
        if said != any(marks) and (any(marks) or len(marks) == 2):
            known = "synthetic" if any(marks) else "recorded"
            raise FaultyError(
                found.path, f"row {row}", f"synthetic {said}: {pair} is {known} speech"
            )


def _tell(merged: Merged, results: Path) -> None:
    print_rows(
        ("file", "method", "pair", "shots", "seed", "features", "UAR here", "UAR in the file"),
        [
            (
                item.path,
                item.trial.method,
                item.trial.pair,
                item.trial.shots,
                item.trial.seed,
                item.trial.condition.features_label,
                f"{item.here:.2f}",
                f"{item.there:.2f}",
            )
            for item in merged.conflicts
        ],
    )
    parts = [f"{merged.added} results added to {results}", f"{merged.known} were there before"]
    if merged.scored:
        parts.append(f"{merged.scored} of these had no scores and have them now")
    if merged.missing:
        parts.append(f"{merged.missing} planned in the files, but not run")
    if merged.conflicts:
        parts.append(f"{len(merged.conflicts)} differ from what is there and were left out")
    complain("; ".join(parts) + ".")
    for part in merged.apart:
        complain(
            f"not shown in tables: {part.method}, {part.suite}, {part.shots} shots: the file has "
            f"another version, point or audio than {results}; import it into a file of its own "
            "to see it."
        )
