"""The command `clser-bench`. Heavy modules are imported inside commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from clser_bench import __version__
from clser_bench.cli import (
    audit,
    cards,
    corpora,
    doctor,
    features,
    inspect,
    listing,
    run,
    share,
    tables,
)
from clser_bench.cli.output import complain
from clser_bench.errors import ClserError

INTERRUPTED = 130
MISUSED = 2


class _Guarded(TyperGroup):
    """Prints errors that a user can mend without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ClserError as error:
            complain(f"Error: {error}")
            raise typer.Exit(MISUSED) from None
        except KeyboardInterrupt:
            complain("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="clser-bench",
    cls=_Guarded,
    help=(
        "The benchmark for cross-lingual speech emotion recognition: a few labelled utterances "
        "in one language, none in the other."
    ),
    epilog="Try: clser-bench run        (synthetic speech; needs no data)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clser-bench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command("run")(run.run)
app.command("resume")(run.resume)
app.command("sweep")(run.sweep)
app.command("audit")(audit.audit)
app.command("leaderboard")(tables.leaderboard)
app.command("compare")(tables.compare)
app.command("breakdown")(inspect.breakdown)
app.command("figures")(inspect.figures)
app.command("embeddings")(run.embeddings)
app.command("robustness")(inspect.robustness)
app.command("card")(cards.card)
app.command("reproduce")(cards.reproduce)
app.command("export")(share.export)
app.command("import")(share.import_)
app.command("status")(tables.status)
app.command("list")(listing.list_)
app.command("show")(listing.show)
app.add_typer(corpora.corpus_app, name="corpus")
app.add_typer(features.features_app, name="features")
app.add_typer(share.results_app, name="results")
app.command("doctor")(doctor.doctor)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
