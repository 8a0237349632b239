"""The numbers on the front page are those of the raw records."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = sorted(ROOT.glob("results/*/records*.parquet"))


def test_the_matrix_of_the_readme_is_made_of_the_records() -> None:
    if not RECORDS:
        pytest.skip("no records are published in results/")
    spec = importlib.util.spec_from_file_location("front_page", ROOT / "tools" / "front_page.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme.partition(tool.BEGIN)[2].partition(tool.END)[0]
    assert shown == tool.matrix(tool.tables_of(RECORDS))
