"""Commands and files of the documentation, and small corpora that they are tried on."""

from __future__ import annotations

import csv
import itertools
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fake_corpora import write_tone

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

NOT_RUN = {
    r"make|pip|python -m venv|\. |source|git|docker|apptainer": "sets up an environment",
    r"hf |.*hf:(?!\./)|.*(hubert|wavlm|xls-r|whisper)-\w+": "needs weights of the hub",
    r".*set:(heterogeneous|isomorphic)( |$)": "needs weights of the hub",
    r"clser-bench leaderboard --published": "needs 5 shots; `test_published` tries it",
    r"ray |srun|sbatch|nodes=|head=|sleep|.*--ray-address": "needs a cluster",
    r"python tools/|python my_system": "is tested by itself, or is the reader's",
}
"""Commands that no test runs: how they begin, and why. Those of clser-bench are parsed."""

SLOW = r"clser-bench run( --suite demo.*)?$"
"""Makes the synthetic corpora: half a minute."""

SHORTER = {
    r"--shots \S*all": "--shots 1",
    r"--shots \d+": "--shots 1",
    r"--seeds \d+": "--seeds 1",
    r"--samples \d+": "--samples 2",
    r"--methods all": "--methods chance,logistic",
    r"noise:20,10,0": "noise:10",
    r"--formats png,pdf|--formats svg,pdf": "--formats svg",
}
"""What is taken smaller, so that a page takes seconds."""

LAYOUTS = {
    "emodb": ("{speaker}{text}{label}a", "03 08", "W E A F N T", "a01 b02"),
    "casia": (
        *("{speaker}/{label}/{text}", "wangzhe liuchanhg"),
        *("angry fear happy neutral sad surprise", "201 202"),
    ),
    "emovo": (
        "{speaker}/{label}-{speaker}-{text}",
        "f1 m1",
        "rab dis pau gio neu tri sor",
        "b1 b2",
    ),
    "ravdess": (
        *("Actor_{speaker}/03-01-{label}-01-{text}-01-{speaker}", "01 02"),
        *("01 03 04 05 06 07 08", "01 02"),
    ),
}
"""Of each corpus: path, speakers, labels, texts."""


@dataclass(frozen=True)
class Block:
    """A block of a page between fences.

    Attributes:
        language: after the opening fence.
        title: `title="..."` after it: the file that the block is.
        text: its lines.
    """

    language: str
    title: str
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


def inline(page: Path) -> Iterator[str]:
    """Commands of clser-bench in running text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    yield from (" ".join(found.split()) for found in re.findall(r"`(clser-bench [^`]+)`", text))


def write_layouts(folder: Path) -> None:
    """Write four corpora of tones in their own layouts."""
    for name, (pattern, speakers, labels, texts) in LAYOUTS.items():
        for words in itertools.product(speakers.split(), labels.split(), texts.split()):
            path = pattern.format(**dict(zip(("speaker", "label", "text"), words, strict=True)))
            write_tone(folder / name / f"{path}.wav")


def write_languages(folder: Path) -> None:
    """Write the three folders that the start page begins with."""
    names = itertools.product(("german", "italian", "polish"), "ab", ("ang", "hap", "sad"), "12")
    for language, speaker, emotion, number in names:
        write_tone(folder / language / f"{speaker}_{emotion}_{number}.wav")


def write_block(block: Block, folder: Path) -> None:
    """Write the file that a block is; the recordings of a table are made."""
    file = folder / block.title
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(block.text, encoding="utf-8")
    if block.language == "csv":
        for row in csv.DictReader(block.text.splitlines()):
            write_tone(file.parent / row["path"], seconds=float(row.get("end") or 0.2))


def why_not(command: str) -> str:
    """Why a command is not run; empty where it is."""
    return next((why for start, why in NOT_RUN.items() if re.match(start, command)), "")


def shorter(command: str) -> str:
    """The command on less data."""
    for long, short in SHORTER.items():
        command = re.sub(long, short, command)
    return command


def arguments(command: str) -> tuple[list[str], str]:
    """The words after `clser-bench`, and the file that the output goes to.

    A pipe is cut off, `~` and `NAME` (of a folder that a command named) are filled in.
    """
    command, _, out = command.partition(" > ")
    words = [os.path.expanduser(word) for word in shlex.split(command.split(" | ")[0])[1:]]  # noqa: PTH111
    return [_filled(word) for word in words], out.strip()


def _filled(word: str) -> str:
    if "/NAME/" not in word:
        return word
    (found,) = Path().glob(word.replace("NAME", "*"))
    return str(found)
