"""Options by which commands ask for trials: which suite, which draws, under which rules."""

from __future__ import annotations

from typing import Annotated

import typer

Suite = Annotated[
    str | None,
    typer.Option(
        "--suite", metavar="NAME", help="See `list suites`; else chosen from the corpora."
    ),
]
Pairs = Annotated[
    str, typer.Option("--pairs", metavar="PAIRS", help="Only these: B->C,C->B (quote the >).")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Draws of the labelled utterances.")]
Normalise = Annotated[
    str,
    typer.Option("--normalise", metavar="HOW", help="z-scores by corpus, speaker, source or none."),
]
TargetPrior = Annotated[
    str,
    typer.Option(
        "--target-prior",
        metavar="PRIOR",
        help="natural, or dirichlet:1 for an imbalanced target.",
    ),
]
Fixed4 = Annotated[bool, typer.Option("--fixed4", help="Only anger, fear, happiness, sadness.")]
