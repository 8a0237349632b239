"""Tables of checked-in records, byte by byte.

`leaderboard/records.json` holds made-up answers by corpus and predictions by shots, method, pair
and seed. To make the expected tables again after a change that is meant:

    python -m tests.golden.test_leaderboard

Per-cell values of `table.csv` are those of the first version of these files.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from clser_bench.problem import SkippedFile
from clser_bench.protocol import Pair
from clser_bench.report.comparison import compare, text_tables
from clser_bench.report.comparison import render as render_comparison
from clser_bench.report.formats import write_tables
from clser_bench.report.published import published_tables, read_published
from clser_bench.report.render import across, grouped, render
from clser_bench.report.table import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.records import answer_key, hole, ok, trial

FOLDER = Path(__file__).parent / "leaderboard"
PAIRS = tuple(Pair(s, t) for s, t in itertools.permutations("BOC", 2))
NOTES = {
    "logistic": MethodNote(),
    "chance": MethodNote(role="bound"),
    "sere": MethodNote(assumes_prior="uniform", note="equations reconstructed from the abstract"),
    "dann": MethodNote(),
    "density": MethodNote(),
    "within-target": MethodNote(role="reference"),
}
BUDGET = (("labelled_batch", 8), ("source_batch", 64), ("steps", 200), ("target_batch", 64))
TRAINED = {
    "dann": BUDGET,
    "density": BUDGET,
    "sere": (*BUDGET[:2], ("steps", 100), ("target_batch", 96)),
}
WRITTEN: dict[str, tuple[str, dict[str, Any]]] = {
    "table.txt": ("table", {"width": 100}),
    "wide.txt": ("table", {"width": 200, "explain": True}),
    "table.md": ("md", {}),
    "transposed.md": ("md", {"transposed": True}),
    "table.tex": ("latex", {}),
    "pairs.tex": ("latex", {"pairs": True}),
    "table.csv": ("csv", {}),
    "table.json": ("json", {}),
}


def fill(store: Store, given: dict[str, Any]) -> None:
    """Store the records, with one failed, some not applicable and some not run yet."""
    trials, records = [], []
    for name, predicted in given["predictions"].items():
        shots, method, pair, seed = name.split()
        rows = given["answers"][pair[-1]]
        key = answer_key([y for _, y in rows], speakers=[speaker for speaker, _ in rows])
        of = trial(
            method,
            pair,
            seed=int(seed),
            shots=int(shots),
            synthetic=shots == "1",
            suite="bco",
            parameters=TRAINED.get(method, (("c", 0.05),)),
        )
        trials.append(of)
        if method == "dann" and pair == "O→C" and seed == "1":
            trace = "Traceback (most recent call last):\n  File …\nValueError: loss is NaN"
            records.append(hole(of, reason=trace))
        elif method == "density" and shots == "1":
            records.append(hole(of, "not_applicable", "needs held-out labels: 10 shots or more"))
        elif method == "density" and pair == "C→B" and seed != "0":
            continue
        else:
            records.append(ok(of, [int(digit) for digit in predicted], key))
    store.plan({}, trials, pairs=PAIRS, methods=NOTES)
    store.put(records)
    store.put_skipped([SkippedFile(corpus="O", name="x.wav", reason="empty")])


def write(folder: Path) -> dict[str, str]:
    """Every format of the records' tables, by file name."""
    given = json.loads((FOLDER / "records.json").read_text(encoding="utf-8"))
    with Store(folder / "clser.sqlite") as store:
        fill(store, given)
        frame = store.frame()
        tables = leaderboard(frame, store)
        texts = {name: render(tables, how, **rest) for name, (how, rest) in WRITTEN.items()}
        compared = [compare(store, frame, table) for table in tables]
        families = {"B": "Germanic", "O": "Romance", "C": "Sinitic"}
        papers = read_published(FOLDER / "published.toml")
        sheets = [sheet for item in compared for sheet in text_tables(item)]
        texts["comparison.md"] = write_tables(sheets, "md")
        texts["comparison.json"] = render_comparison([compared[1]], "json")
        texts["published.md"] = write_tables(published_tables(tables, papers), "md")
        grouping = [grouped(table, "family", families) for table in tables]
        texts["by.md"] = write_tables([*grouping, *across(tables, "shots")], "md")
    return texts


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write(tmp_path_factory.mktemp("golden"))


OTHERS = ("comparison.md", "comparison.json", "published.md", "by.md")


@pytest.mark.parametrize("name", [*WRITTEN, *OTHERS])
def test_table_is_what_it_was(written, name):
    assert written[name] == (FOLDER / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for file, content in write(Path(temporary)).items():
            (FOLDER / file).write_text(content, encoding="utf-8")
