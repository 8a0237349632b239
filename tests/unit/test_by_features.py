"""The table with a row a feature set, from tables made by hand."""

from clser_bench.protocol import Condition, Pair, parse_shots
from clser_bench.report.statistics import Interval
from clser_bench.report.table import Cell, Leaderboard, Line
from tests import tools


def tool():
    return tools.load("by_features")


def table(features: str, shots: str, *means: float | None) -> Leaderboard:
    rules = Condition(suite="s", features=features, shots=parse_shots(shots))
    whole = None if None in means else sum(means) / len(means)  # type: ignore[arg-type]
    line = Line(
        method="logistic",
        title="logistic",
        role="ranked",
        uses=(),
        assumes_prior="none",
        note="",
        cells=tuple(Cell(n=5, mean=mean, std=None) for mean in means),
        mean=Cell(n=5, mean=whole, std=None),
        interval=None if whole is None else Interval(estimate=whole, low=whole - 2, high=whole + 2),
    )
    return Leaderboard(
        condition=rules,
        pairs=(Pair("A", "B"), Pair("B", "A")),
        classes=(4, 4),
        lines=(line,),
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
