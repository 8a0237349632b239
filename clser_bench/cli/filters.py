"""Options by which commands choose tables of a results file."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated

import typer

Suite = Annotated[str | None, typer.Option("--suite", metavar="NAME", help="Only this suite.")]
Shots = Annotated[
    str | None, typer.Option("--shots", metavar="K", help="Only this number of shots.")
]
Methods = Annotated[
    str, typer.Option("--methods", metavar="NAMES", help="Only these: a comma list.")
]
Features = Annotated[
    str | None, typer.Option("--features", metavar="NAME", help="Only this feature set.")
]
Normalise = Annotated[
    str | None, typer.Option("--normalise", metavar="HOW", help="Only this normalisation.")
]
Setting = Annotated[
    str | None,
    typer.Option("--setting", metavar="NAME", help="Only transductive, or only inductive."),
]
TargetPrior = Annotated[
    str | None, typer.Option("--target-prior", metavar="PRIOR", help="Only this prior.")
]
Selection = Annotated[
    str | None,
    typer.Option("--selection", metavar="NAME", help="Only this choice of hyper-parameters."),
]


def check_methods(named: Iterable[str], known: Collection[str]) -> None:
    """Refuse a method that a results file has nothing of; a slip would go unnoticed.

    Args:
        named: what the user wrote.
        known: methods of the file.

    Raises:
        SpecError: it has no results of one of them.
    """
    from clser_bench.errors import SpecError, did_you_mean

    for name in named:
        if name not in known:
            raise SpecError(f"there are no results of '{name}'{did_you_mean(name, known)}")
