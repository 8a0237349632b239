"""The Python interface: what the commands themselves call.

from clser_bench.api import Condition, Request, Store, leaderboard, render, run

request = Request(methods=("logistic", "coral"), condition=Condition(suite="demo"), seeds=2)
summary = run(request)
with Store(summary.results) as store:
tables = leaderboard(store.frame(), store)
print(render(tables))
frame = store.frame({"suite": "demo", "shots": "5"})  # pandas, a row a trial
"""

from __future__ import annotations

from clser_bench.corpora.locate import load_corpora
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import feature_set
from clser_bench.protocol import Condition, Pair
from clser_bench.report.comparison import compare
from clser_bench.report.render import render
from clser_bench.report.table import leaderboard
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from clser_bench.store.sqlite import Store

__all__ = [
    "Condition",
    "Pair",
    "Request",
    "Store",
    "compare",
    "feature_set",
    "feature_table",
    "leaderboard",
    "load_corpora",
    "render",
    "run",
]
