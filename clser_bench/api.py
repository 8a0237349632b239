"""The Python interface: what the commands themselves call (docs/api.md is a tutorial)."""

from __future__ import annotations

from clser_bench.corpora.locate import load_corpora
from clser_bench.features.extract import feature_table
from clser_bench.features.sets import feature_set
from clser_bench.files import cache_folder
from clser_bench.protocol import Condition, Pair
from clser_bench.report.comparison import compare
from clser_bench.report.render import render, rows
from clser_bench.report.table import leaderboard
from clser_bench.run.draws import stored_draws, write_draws
from clser_bench.run.execute import run
from clser_bench.run.request import Request
from clser_bench.run.submission import read_card, submit
from clser_bench.store.sqlite import Store

__all__ = [
    "Condition",
    "Pair",
    "Request",
    "Store",
    "cache_folder",
    "compare",
    "feature_set",
    "feature_table",
    "leaderboard",
    "load_corpora",
    "read_card",
    "render",
    "rows",
    "run",
    "stored_draws",
    "submit",
    "write_draws",
]
