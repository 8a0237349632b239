"""The command `clser-bench`. A command imports its own module alone, and heavy ones inside it."""

from __future__ import annotations

import copy
import errno
import gc
import importlib
import os
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clser_bench.cleanup import remove_leftovers, terminable
from clser_bench.cli.options import GROUPS
from clser_bench.cli.output import INTERRUPTED, complain
from clser_bench.errors import ClserError

MISUSED = 2

COMMANDS = {
    "run": "run:run",
    "resume": "run:resume",
    "sweep": "run:sweep",
    "audit": "inspect:audit",
    "leaderboard": "tables:leaderboard",
    "compare": "tables:compare",
    "breakdown": "tables:breakdown",
    "figures": "figures:figures",
    "embeddings": "figures:embeddings",
    "robustness": "tables:robustness",
    "card": "share:card",
    "confirm": "run:confirm",
    "reproduce": "run:reproduce",
    "draws": "share:draws",
    "score": "share:score",
    "export": "share:export",
    "import": "share:import_",
    "status": "tables:status",
    "list": "inspect:list_",
    "show": "inspect:show",
    "check-method": "inspect:check_method",
    "doctor": "inspect:doctor",
    "new": "inspect:new_app",
    "corpus": "inspect:corpus_app",
    "features": "features:features_app",
    "results": "share:results_app",
}
"""Module and function, or group, of each command, in the order of the help."""


class _Guarded(TyperGroup):
    """Prints errors that a user can mend without a traceback; a killed command leaves nothing."""

    def invoke(self, ctx: Any) -> Any:
        remove_leftovers()
        try:
            with terminable():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.replace("Value error, ", "")
            raise
        except ClserError as error:
            message, code = f"Error: {error}", MISUSED
        except OSError as error:
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            # a place that cannot be read or written, wherever it was met: the user can mend it
            place = error.filename or "standard output"
            message, code = f"Error: {place}: {error.strerror}", MISUSED
        except KeyboardInterrupt:
            message, code = "Interrupted.", INTERRUPTED
        complain(message)
        raise typer.Exit(code)


class Command(TyperCommand):
    """A command whose help shows its options in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then each group of options in the order of `GROUPS`."""
        from clser_bench.cli.options import FORMER

        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("Arguments", *GROUPS)}
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


def _version(wanted: bool) -> None:
    from clser_bench import __version__

    if wanted:
        typer.echo(f"clser-bench {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line."""
    made = typer.Typer(
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
    made.callback()(_options)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        found = getattr(importlib.import_module(f"clser_bench.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name, cls=Command)(found)
    return made


def __getattr__(name: str) -> typer.Typer:
    """`app`, with every command, once it is asked for."""
    if name != "app":
        raise AttributeError(name)
    made = globals()[name] = application()
    return made


def main() -> None:
    """Run the command line."""
    # tables of results are many small objects and no cycles: searching them takes a tenth
    gc.set_threshold(50_000, 20, 100)
    # of a shell that completes, bash or another
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS")
    words = line.split() if line else sys.argv
    named = words[1] if len(words) > 1 else ""
    if COMMANDS.get(named, "").startswith(("tables:", "figures:", "share:")):
        # their matrices are many and small: with more threads a quarter of the CPU time goes into
        # waiting. Read when numpy is imported, which none of the imports above does
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    application([named] if named in COMMANDS else COMMANDS)()


if __name__ == "__main__":
    main()
