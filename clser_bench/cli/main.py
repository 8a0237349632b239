"""The command `clser-bench`. Heavy modules are imported inside commands."""

from __future__ import annotations

import copy
import errno
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clser_bench import __version__
from clser_bench.cleanup import remove_leftovers, terminable
from clser_bench.cli import (
    audit,
    cards,
    corpora,
    doctor,
    embeddings,
    features,
    inspect,
    listing,
    options,
    plugins,
    run,
    share,
    tables,
)
from clser_bench.cli.output import complain
from clser_bench.errors import ClserError

INTERRUPTED = 130
MISUSED = 2


class _Guarded(TyperGroup):
    """Prints errors that a user can mend without a traceback; a killed command leaves nothing."""

    def invoke(self, ctx: Any) -> Any:
        remove_leftovers()
        try:
            with terminable():
                return super().invoke(ctx)
        except ClserError as error:
            complain(f"Error: {error}")
            raise typer.Exit(MISUSED) from None
        except OSError as error:
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            # a place that cannot be read or written, wherever it was met: the user can mend it
            complain(f"Error: {error.filename or 'standard output'}: {error.strerror}")
            raise typer.Exit(MISUSED) from None
        except KeyboardInterrupt:
            complain("Interrupted.")
            raise typer.Exit(INTERRUPTED) from None


FORMER = frozenset({"--corrupt", *(rule.former for rule in options.RULES if rule.former)})
"""Spellings that still work and are not shown."""


class Command(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each group of options in the order of `options.GROUPS`."""
        groups: dict[str, list[tuple[str, str]]] = {
            name: [] for name in ("Arguments", *options.GROUPS)
        }
        for parameter in self.get_params(ctx):
            shown: Any = copy.copy(parameter)
            shown.opts = [name for name in parameter.opts if name not in FORMER]
            record = shown.get_help_record(ctx)
            if record is None:
                continue
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            group = getattr(parameter, "rich_help_panel", None) or usual
            groups.setdefault(group, []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


app = typer.Typer(
    name="clser-bench",
    cls=_Guarded,
    help=(
        "The benchmark for cross-lingual speech emotion recognition: a few labelled utterances "
        "in one language, none in the other."
    ),
    epilog="Try: clser-bench run        (synthetic speech; needs no data)",
    no_args_is_help=True,
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
app.command("embeddings")(embeddings.embeddings)
app.command("robustness")(inspect.robustness)
app.command("card")(cards.card)
app.command("confirm")(cards.confirm)
app.command("reproduce")(cards.reproduce)
app.command("draws")(share.draws)
app.command("score")(share.score)
app.command("export")(share.export)
app.command("import")(share.import_)
app.command("status")(tables.status)
app.command("list")(listing.list_)
app.command("show")(listing.show)
app.command("check-method")(plugins.check_method)
app.add_typer(plugins.new_app, name="new")
app.add_typer(corpora.corpus_app, name="corpus")
app.add_typer(features.features_app, name="features")
app.add_typer(share.results_app, name="results")
app.command("doctor")(doctor.doctor)


for registered in app.registered_commands:
    registered.cls = Command


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
