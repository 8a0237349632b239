"""Ways to the answers that were tried on the benchmark, and that every method is kept from.

Each is a few lines that return what they reached. In a method, run as every method is, they must
reach nothing; those marked `here` reach it in the process of this test, where the answers are.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import app
from clser_bench.protocol import Condition, Pair
from clser_bench.run import worker
from clser_bench.run.execute import run
from clser_bench.run.process import confinement
from clser_bench.run.request import Request
from clser_bench.splits import build
from tests.fake_corpora import content_tables, memory_corpus
from tests.tiny import planned, stored, write_corpora, write_method

AWAY, BACK = Pair("X", "Y"), Pair("Y", "X")

IMPORTS = "import ctypes, gc, os, socket, sys, tempfile\nfrom pathlib import Path\n"
CHEATS = {
    "frames": """
        frame, found = sys._getframe(), []
        while frame:
            values = list(frame.f_locals.values())
            found += [v for v in values if type(v).__name__ in ("Plan", "Fold", "AnswerKey")]
            frame = frame.f_back
        return found
    """,
    "objects": """
        names = ("AnswerKey", "Fold", "Corpus", "Utterance", "Plan", "Trial", "Record")
        return [o for o in gc.get_objects() if type(o).__name__ in names]
    """,
    "index": 'return [p.read_text() for p in Path({cache!r}).glob("audio/*.json")]',
    "tables": 'return [p.read_bytes() for p in Path({cache!r}).glob("tables/*/summary.npy")]',
    "recordings": "return os.listdir({corpora!r})",
    "results": "return Path({results!r}).read_bytes()[:1]",
    "parent": 'return Path("/proc/%d/cmdline" % os.getppid()).read_bytes()',
    "environment": 'return [v for v in os.environ if v in ("CLSER_CACHE", "CLSER_CORPORA")]',
    "own environment": 'return b"CLSER_CACHE" in Path("/proc/self/environ").read_bytes()',
    "socket": """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            return str(made)
    """,
    "signal": """
        os.kill(os.getppid(), 0)
        return True
    """,
    "folder": """
        table = problem.target.stored_rows(problem.scored)[0]
        base = table.summary
        while isinstance(base, np.ndarray):
            if getattr(base, "filename", None):
                return base.filename
            base = base.base
        return problem.target.folder or table.folder
    """,
    "memory": """
        known = [row.tobytes() in SEEN for row in problem.target.summary[problem.scored]]
        for row in problem.source.summary[problem.labelled.rows]:
            SEEN.add(row.tobytes())
        return sum(known)
    """,
    "file": """
        left = os.listdir(tempfile.gettempdir())
        Path(tempfile.gettempdir(), "left").touch()
        return left
    """,
    "shared file": """
        Path("/dev/shm/clser-left").touch()
        return True
    """,
    "shared memory": "return ctypes.CDLL(None).shmget(1234567, 4096, 0o1600) >= 0",
}
CONFINED = {
    "index", "tables", "recordings", "results", "parent", "own environment", "socket", "signal",
    "shared file", "shared memory",
}  # fmt: skip
"""Cheats that only Landlock and seccomp refuse."""
HERE = {"objects", "index", "tables", "recordings", "parent", "environment", "socket", "signal"}
"""Cheats that would reach something in this process."""

LOOK = """
    def look(problem):
{lines}
    try:
        found = look(problem)
    except (OSError, PermissionError):
        found = None
    if found:
        raise RuntimeError(f"reached {{str(found)[:200]}}")
"""


def lines_of(name: str, places: dict[str, str], indent: int) -> str:
    lines = textwrap.dedent(CHEATS[name].format_map(places)).strip()
    return textwrap.indent(lines, " " * indent)


def body(name: str, places: dict[str, str]) -> str:
    look = IMPORTS + textwrap.dedent(LOOK.format(lines=lines_of(name, places, 8)))
    return textwrap.indent(look, " " * 8).strip()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two corpora, a cache, a results file, and a method a cheat."""
    root = tmp_path_factory.mktemp("cheats")
    write_corpora(root / "corpora", codes="XY")
    found = {name: str(root / name) for name in ("corpora", "cache", "methods")}
    found["results"] = str(root / "results.sqlite")
    for name in CHEATS:
        file = write_method(root / "methods", name.replace(" ", "-"), body=body(name, found))
        file.write_text(file.read_text().replace("@register", "SEEN = set()\n\n@register"))
    return found


@pytest.fixture
def request_of(places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Request]:
    monkeypatch.setenv("CLSER_CACHE", places["cache"])
    monkeypatch.setenv("CLSER_METHODS", places["methods"])

    def asked(**options: Any) -> Request:
        usual: dict[str, Any] = {
            "manifests": (Path(places["corpora"]) / "manifest.csv",),
            "methods": tuple(name.replace(" ", "-") for name in CHEATS),
            "pairs": (AWAY, BACK),
            "shots": (1,),
            "seeds": 1,
            "results": Path(places["results"]),
            "scheduler": "local",
            "workers": 1,
        }
        return Request(**{**usual, **options})

    return asked


def assert_refused(asked: Request) -> None:
    """Every cheat is run as a method of a name of its own, and none succeeds."""
    run(asked)
    found: dict[str, set[str]] = {}
    for record in stored(asked.results):
        what = "" if record.status == "ok" else record.reason.strip().splitlines()[-1]
        found.setdefault(record.trial.method, set()).add(what)
    open_here = () if confinement() == "confined" else CONFINED
    expected = {name.replace(" ", "-"): {""} for name in CHEATS if name not in open_here}
    assert found == {**found, **expected}


def test_no_cheat_reaches_anything(request_of: Callable[..., Request]) -> None:
    assert_refused(request_of())


@pytest.mark.slow
def test_nor_by_ray(request_of: Callable[..., Request], tmp_path: Path) -> None:
    assert_refused(request_of(scheduler="ray", workers=2, results=tmp_path / "ray.sqlite"))


@pytest.mark.parametrize("name", sorted(HERE))
def test_the_cheats_reach_something_where_the_answers_are(name, places, request_of) -> None:
    made = planned(request_of(methods=("logistic",)))
    keys = made.keys(made.trials[0])
    scope: dict[str, Any] = {"np": np, "SEEN": set()}
    exec(f"{IMPORTS}def look(problem):\n{lines_of(name, places, 4)}", scope)
    assert scope["look"](SimpleNamespace())
    assert keys


WRITERS = {
    "writer": ("features = problem.source.summary", "read-only"),
    "base-writer": (
        "features = problem.source.summary.base; features.flags.writeable = True",
        "wrote into the features",
    ),
}


def test_who_writes_into_features_fails_alone(request_of, tmp_path, monkeypatch) -> None:
    for name, (how, _) in WRITERS.items():
        write_method(tmp_path / "methods", name, body=f"{how}; features += 1.0")
    write_method(tmp_path / "methods", "honest")
    monkeypatch.setenv("CLSER_METHODS", str(tmp_path / "methods"))
    for number, names in enumerate(((*WRITERS, "honest"), ("honest",))):
        run(request_of(methods=names, results=tmp_path / f"{number}.sqlite"))
    mixed, alone = (stored(tmp_path / f"{number}.sqlite", "honest") for number in (0, 1))
    assert [r.scores.tobytes() for r in mixed] == [r.scores.tobytes() for r in alone]
    for name, (_, words) in WRITERS.items():
        for record in stored(tmp_path / "0.sqlite", name):
            assert record.status == "failed"
            assert words in record.reason


def test_a_table_that_was_written_to_fails_its_pack(request_of, tmp_path: Path) -> None:
    """As where nothing confines a method: the file on disk changes while its pack runs."""
    made = planned(request_of(methods=("majority",), results=tmp_path / "r.sqlite"))
    jobs = made.jobs(made.trials[0])
    stamps = worker._stamps(jobs)
    assert len(stamps) == 2
    assert worker._damage(stamps) == ""
    file = next(iter(stamps)) / "summary.npy"
    content = file.read_bytes()
    os.utime(file)
    assert worker._damage(stamps) == "", "touched, not changed"
    file.write_bytes(content[:-4] + b"\0\0\0\1")
    assert "written to while the pack ran" in worker._damage(stamps)
    file.write_bytes(content)


def test_anonymous_features_are_the_same_and_name_nothing(tmp_path: Path) -> None:
    corpora = (memory_corpus(code, {"anger": 9, "fear": 9}) for code in "ST")
    [fold] = build(
        *corpora, classes=("anger", "fear"), shots=1, seed=0, condition=Condition(),
        tables=content_tables(tmp_path),
    )  # fmt: skip
    table = fold.problem.source
    bare = table.anonymous
    assert bare is table.anonymous
    np.testing.assert_array_equal(bare.summary, table.summary)
    np.testing.assert_array_equal(bare.instants, table.instants)
    stored_table, _ = bare.stored_rows(fold.problem.unlabelled)
    keys = {table.key, table.stored_rows(fold.problem.unlabelled)[0].key}
    assert not keys & {bare.key, stored_table.key}
    assert bare.folder is stored_table.folder is None


def test_audit_passes_an_honest_method_and_finds_one_that_looks_at_row_numbers(
    places, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("CLSER_CACHE", places["cache"])
    monkeypatch.setenv("CLSER_PLUGINS", "")
    lookup = "near += 1e3 * np.eye(2)[(problem.scored // 3) % 2]\n        "
    words = ["--manifest", f"{places['corpora']}/manifest.csv", "--shots", "1", "--seeds", "1"]
    for name, line, code in (("plain", "", 0), ("numbers", lookup, 1)):
        file = write_method(tmp_path, name, deterministic=True)
        random = "return near + self.weight * 1e-3"
        file.write_text(file.read_text().replace(random, f"{line}return near + 0"))
        found = CliRunner().invoke(app, ["audit", str(file), *words])
        assert found.exit_code == code, found.output
        assert ("do not follow from the features alone" in found.output) == bool(code)
