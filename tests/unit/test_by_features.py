"""The table with a row a feature set, from tables made by hand."""

from clser_bench.protocol import Pair
from clser_bench.report.board import Cell, LeaderboardTable, Line, Rules
from clser_bench.report.crossed_statistics import Interval
from tests import tools


def tool():
    return tools.load("by_features")


def table(features: str, shots: str, *means: float | None) -> LeaderboardTable:
    rules = Rules(
        suite="s",
        features=features,
        normalisation="corpus",
        setting="transductive",
        prior="natural",
        selection="default",
        shots=shots,
    )
    whole = None if None in means else sum(means) / len(means)  # type: ignore[arg-type]
    line = Line(
        method="logistic",
        kind="ranked",
        assumes_prior="none",
        note="",
        slice=1,
        cells=tuple(Cell(n=5, mean=mean, std=None) for mean in means),
        mean=Cell(n=5, mean=whole, std=None),
        interval=None if whole is None else Interval(estimate=whole, low=whole - 2, high=whole + 2),
    )
    return LeaderboardTable(
        rules=rules,
        pairs=(Pair("A", "B"), Pair("B", "A")),
        classes=(4, 4),
        lines=(line,),
        protocol_version=1,
        synthetic=False,
    )


def test_means_holes_and_the_order_of_columns():
    tables = [
        table("mel", "all", 30.0, 40.0),
        table("mel", "5", 20.0, 30.0),
        table("set:x", "5", 20.0, None),
        table("mfcc", "5", None, None),
    ]
    lines = tool().by_features(tables).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["features", "logistic, 5, corpus", "logistic, all, corpus"]
    assert cells[2] == ["mel", "25.0 [23.0, 27.0] n=5", "35.0 [33.0, 37.0] n=5"]
    assert cells[3] == ["set:x", "20.0 over 1 of 2 pairs", ""]
    assert cells[4] == ["mfcc", "–", ""]
