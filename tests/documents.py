"""Blocks of the pages of the documentation, and the files that they are."""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fake_corpora import write_tone

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Block:
    """A block of a page between fences."""

    language: str  # after the opening fence
    title: str  # `title="..."` after it: the file that the block is
    text: str

    def commands(self) -> Iterator[str]:
        """Its commands, each on one line, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield " ".join(re.sub(r"\s#.*", "", line).split())


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    titles = [re.search(r'title="([^"]+)"', rest) for _, rest, _ in found]
    return [
        Block(language, title[1] if title else "", text)
        for (language, _, text), title in zip(found, titles, strict=True)
    ]


def write_block(block: Block, folder: Path) -> None:
    """Write the file that a block is; the recordings of a table are made."""
    file = folder / block.title
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")
    if block.language == "csv":
        for row in csv.DictReader(block.text.splitlines()):
            write_tone(file.parent / row["path"], seconds=float(row.get("end") or 0.2))
