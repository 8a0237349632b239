"""`new`, `check-method` and `audit`: methods and corpora of the user's own."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clser_bench.cli import options, rules
from clser_bench.cli.output import Bars, complain, print_rows

if TYPE_CHECKING:
    from clser_bench.run.request import Request

FAULTY = 1

new_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Write a first version of something."
)


class Kind(enum.StrEnum):
    """Kinds of methods."""

    fitted = "fitted"
    trained = "trained"


Out = Annotated[Path, typer.Option(metavar="DIR", help="The folder; made where absent.")]


@new_app.command("method")
@options.examples(
    "clser-bench new method my-method",
    "clser-bench new method my-method --kind trained --out methods",
)
def method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case words and hyphens.")],
    *,
    kind: Kind = Kind.fitted,
    out: Out = Path(),
) -> None:
    """Write the file of a method: it passes `check-method` and runs as it is.

    Options:
        kind: fitted: scores in one call; trained: a loss in PyTorch.
    """
    from clser_bench.registry import template

    file = out / f"{name.replace('-', '_')}.py"
    _write(file, template(name, kind.value))
    complain(f"Check it: clser-bench check-method {file}")
    complain(f"Run it:   clser-bench run --plugin {file} --methods {name},logistic")


@new_app.command("corpus")
@options.examples("clser-bench new corpus mine --out tasks")
def corpus(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters and digits.")],
    *,
    out: Out = Path("tasks"),
) -> None:
    """Write the definition of a corpus: layout, labels, language, licence.

    Recordings without a definition need none: a CSV with the columns path, speaker, emotion and
    language is read by --manifest.
    """
    from clser_bench.corpora.definitions import definitions, template

    file = out / f"{name}.toml"
    _write(file, template(name))
    found = definitions([out]).corpora
    code = next(one.code for one in found.values() if one.name == name)
    complain(f"Edit it, then check it: clser-bench corpus check DIR --tasks {out}")
    complain(f"Its code in pairs and tables is {code}.")


@options.examples("clser-bench check-method my_method.py")
def check_method(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A method of yours, or of ours.")],
) -> None:
    """Check a method against the contract, in seconds.

    Prints what is wrong, a sentence each, and ends with 1; the problems are small and made of
    random numbers.
    """
    from clser_bench.train.check import check_method as findings_of

    found = findings_of(file)
    print_rows(("method", "check", "problem"), [(f.name, f.check, f.text) for f in found])
    if found:
        complain(f"{file}: {len(found)} findings.")
        raise typer.Exit(FAULTY)
    complain(f"{file}: passes every check.")


@options.examples(
    "clser-bench audit my_method.py",
    "clser-bench audit sere --corpora ~/corpora --suite bcro --seeds 2",
)
@rules.request_options(
    without=("methods", "plugins", "corruptions", "skip_bad", "results", *rules.MEANS),
    rules=rules.RULES_OF_DATA,
    seeds=3,
)
def audit(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD|FILE",
            help="A method, or the file of one.",
            autocompletion=options.METHOD_NAMES,
        ),
    ],
    *,
    request: Request,
) -> None:
    """Check that a method's scores follow from the features that it is given alone.

    Runs it as usual, and on a copy with renamed recordings and speakers, another order of rows, and
    a process for every trial. The mean UARs must agree: within half a percent, or four standard
    errors where the method draws random numbers. Exits with 1 where they do not.
    """
    from clser_bench import registry
    from clser_bench.run.audit import audit as run_audit
    from clser_bench.run.confine import confinement

    name = registry.add_plugin(method) if method.endswith(".py") else method
    with Bars() as bars:
        found = run_audit(
            request.replace(methods=(name,), shots=request.shots[:1], scheduler="local"),
            progress=bars,
            say=complain,
        )
    complain(f"methods run {confinement()}")
    rows = [
        (
            "mean" if one.pair is None else one.pair,
            f"{one.plain:.1f}",
            f"{one.copied:.1f}",
            f"{one.copied - one.plain:+.1f}",
            f"{one.allowed:.1f}",
            "" if one.agrees else "differs",
        )
        for one in found
    ]
    print_rows(("pair", "UAR", "in the copy", "difference", "allowed", ""), rows)
    if not found[-1].agrees:
        complain(f"{name}: its scores do not follow from the features alone")
        raise typer.Exit(FAULTY)


def _write(file: Path, text: str) -> None:
    from clser_bench.errors import SpecError
    from clser_bench.files import write_whole

    if file.exists():
        raise SpecError(f"{file}: is there already; name another folder with --out")
    write_whole(file, text, error=SpecError)
    typer.echo(str(file))
