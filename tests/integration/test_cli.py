"""The command line: what it prints where, how it ends, how fast it starts."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clser_bench import __version__
from clser_bench.cli import output
from clser_bench.registry import entries
from clser_bench.scoring.within_target import ROUTINES
from clser_bench.store.sqlite import Store
from tests.integration.conftest import Call
from tests.tiny import write_corpora

pytestmark = pytest.mark.usefixtures("packed")


@pytest.fixture
def run(places: Path, call: Call) -> Call:
    usual = ("--manifest", str(places), "--shots", "1", "--seeds", "2", "--scheduler", "local")
    return lambda *arguments: call("run", *usual, "--pairs", "X->Y,Y->X", *arguments)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=300
    )


def test_a_run_prints_its_table_and_nothing_else_to_stdout(run: Call) -> None:
    done = run("--methods", "near,within-target")
    assert done.exit_code == 0, done.output
    assert re.search(r"custom-[0-9a-f]{6}, 1 shot, transductive", done.stdout)
    assert "trials" not in done.stdout
    assert "6 of 6 trials stored in results/clser.sqlite." in done.stderr
    lines = done.stdout.splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.startswith("within-target (reference)")]
    assert (lines[place - 2][:4], lines[place - 1]) == ("near", ""), "a reference stands apart"


def test_joules_without_codecarbon_name_the_extra(
    run: Call, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    done = run("--methods", "near", "--with", "energy")
    assert done.exit_code == 2
    assert (
        "--with energy needs the extra 'energy': pip install 'clser-bench[energy]'" in done.stderr
    )
    assert not (tmp_path / "results").exists()
    run("--methods", "near")
    table = call("leaderboard", "--with", "energy", "--format", "json")
    assert {row["energy"] for row in json.loads(table.stdout)} == {None}


def test_only_the_asked_shots_and_rules_are_shown(run: Call) -> None:
    run("--methods", "near")
    run("--methods", "near", "--classes", "fixed4")
    done = run("--methods", "near", "--shots", "2", "--format", "json")
    titles = {(t["suite"].split("-")[0], t["shots"]) for t in json.loads(done.stdout)}
    assert titles == {("custom", 2)}


def test_failed_cells_end_with_1_and_status_says_why(run: Call, call: Call) -> None:
    done = run("--methods", "near,bad")
    assert done.exit_code == 1
    assert "4 failed (see `clser-bench status`)" in done.stderr
    assert "near" in done.stdout
    done = call("status")
    assert done.exit_code == 0
    names, row = done.stdout.splitlines()
    assert names.split("\t")[:2] == ["suite", "planned"]
    assert row.split("\t", 1)[1] == "8\t4\t0\t4\t0\t100 %"
    assert "failed: bad: 4 trials: RuntimeError: as asked" in done.stderr
    with sqlite3.connect(Path("results") / "clser.sqlite") as database:
        database.execute("DELETE FROM records WHERE status = 'failed'")
    database.close()
    done = call("status")
    assert done.exit_code == 2
    assert "rows of records are not those that were written" in done.stderr


def test_what_reads_results_changes_nothing(run: Call, call: Call) -> None:
    run("--methods", "near,chance")
    file = Path("results") / "clser.sqlite"
    before = file.read_bytes()
    commands = "leaderboard", "compare", "breakdown", "robustness", "status", "figures"
    for name in (*commands, "results verify", "export x.parquet"):
        call(*name.split())
        assert file.read_bytes() == before, name


def test_reading_many_trials_is_said(
    run: Call, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("--methods", "near,chance")
    monkeypatch.setattr(output, "_MANY", 8)
    for name in ("leaderboard", "status", "compare", "breakdown", "robustness", "card"):
        assert "reading results/clser.sqlite: 8 trials\n" in call(name).stderr, name
    monkeypatch.setattr(output, "_MANY", 9)
    assert "reading" not in call("status").stderr


def test_resume_repeats_the_options(run: Call, call: Call, tmp_path: Path) -> None:
    run("--methods", "near", "--normalise", "speaker", "--set", "near.weight=0.5")
    with Store(tmp_path / "results" / "clser.sqlite") as store:
        options = store.runs()[-1].request
    done = call("resume", "--format", "csv")
    assert done.exit_code == 0
    assert "4 were there before" in done.stderr
    assert "speaker" in done.stdout
    with Store(tmp_path / "results" / "clser.sqlite") as store:
        assert store.runs()[-1].request == options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--methods", "deer"), "method 'deer' is unknown"),
        (("run", "--shots", "five"), "shots 'five'"),
        (("run", "--pairs", "B"), "write SOURCE->TARGET"),
        (("run", "--normalise", "no"), "normalisation 'no' is unknown; did you mean 'none'"),
        (("run", "--setting", "held-out"), "setting 'held-out' is unknown"),
        (("run", "--format", "xml"), "there is no format 'xml'"),
        (("run", "--with", "tme"), "there is no extra 'tme'; did you mean 'time'"),
        (("run", "--methods", "within-taregt"), "did you mean 'within-target'"),
        (("run", "--target-prior", "flat"), "target prior 'flat' is unknown"),
        (("run", "--manifest", "absent.csv"), "absent.csv"),
        (("leaderboard",), "there are no results yet"),
        (("corpus", "check", "absent"), "absent"),
        (("features", "extract"), "name a folder with --corpora"),
        (("features", "probe", "minimal", "--manifest", "x.csv"), "is not one encoder"),
        (("new", "method", "No"), "write lower-case words joined by hyphens"),
        (("new", "method", "sere"), "'sere' is registered by"),
        (("new", "corpus", "No"), "write at most 16 lower-case letters"),
        (("new", "corpus", "emodb"), "'emodb' is the corpus EMO-DB (B)"),
        (("check-method", "absent.py"), "absent.py: there is no such file"),
        (("run", "--plugin", "absent.py"), "absent.py: there is no such file"),
        (("check-method", "/"), "/: is a folder; name a file"),
        (("run", "--plugin", "/"), "/: is a folder; name a file"),
        (("import", "/"), "/: is a folder; name a file"),
        (("run", "--corpora", __file__), "is a file; name a folder; for a table"),
        (("corpus", "check", "absent.csv"), "absent.csv: there is no such file or folder"),
        (("show", "mine.py"), "is a file: use --plugin mine.py"),
        (("show", "nothing"), "more; `clser-bench list methods` has all"),
        (("list", "suites", "--by", "kind"), "only methods are listed by kind"),
    ],
)
def test_errors_are_one_line_without_a_traceback(
    call: Call, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = call(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""
    assert not (tmp_path / "results" / "clser.sqlite").exists()


def test_a_choice_is_named_in_plain_words(call: Call) -> None:
    stderr = call("breakdown", "--by", "foo").stderr
    assert "Invalid value for '--by': 'foo' is not one of 'emotion'" in stderr


def test_lists_are_plain_in_a_pipe(call: Call) -> None:
    names = [line.split("\t")[0] for line in call("list", "methods").stdout.splitlines()]
    assert names == [*entries(), *ROUTINES]
    assert "bcro\tB C R O\t12\t" in call("list", "suites").stdout
    assert any(
        line.startswith("B\temodb\t") for line in call("list", "corpora").stdout.splitlines()
    )
    assert "acoustic\t" in call("list", "features").stdout


def test_show_tells_what_can_be_set(call: Call) -> None:
    done = call("show", "near").stdout
    assert "Nearest centroids." in done
    assert "weight\t1.0\t0 to 10\tnothing" in done
    assert "steps\t" in call("show", "sere-no-dual").stdout
    done = call("show", "within-target").stdout
    assert done.startswith("within-target: version 1, routine, reference\n\nReference: logistic")


def test_points_are_chosen_by_other_pairs(call: Call, tmp_path: Path) -> None:
    manifest = write_corpora(tmp_path / "four", codes="VXYZ", takes=1)
    options = ("--manifest", str(manifest), "--methods", "near", "--shots", "1", "--seeds", "1")
    chosen = ("--selection", "other-pairs", "--with", "point")
    done = call("run", *options, "--scheduler", "local", *chosen)
    assert done.exit_code == 0, done.output
    assert "selection other-pairs: 24 trials of 2 configurations of 1 methods" in done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("near: weight=")]
    assert call("leaderboard", *chosen).stdout == done.stdout


def test_check_and_extract(call: Call, places: Path, tmp_path: Path) -> None:
    done = call("corpus", "check", str(places))
    assert done.exit_code == 0, done.output
    assert "12 utterances" in done.stdout
    assert "anger 6, sadness 6" in done.stdout
    made = call("features", "extract", "--manifest", str(places), "--workers", "1")
    assert [line.split("\t")[2] for line in made.stdout.splitlines()] == ["12", "12", "12"]
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    (tmp_path / "corpora" / "X-ann-anger-0.wav").write_bytes(b"RIFF")
    done = call("corpus", "check", str(manifest), "--workers", "1")
    assert done.exit_code == 1
    assert "X-ann-anger-0.wav: line 2: is not audio" in done.stdout


def test_check_names_what_two_corpora_share(call: Call, tmp_path: Path) -> None:
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    one, other = (manifest.parent / f"{code}-ann-anger-0.wav" for code in "XY")
    other.write_bytes(one.read_bytes())
    done = call("corpus", "check", str(manifest), "--workers", "1")
    assert done.exit_code == 0
    assert "X→Y: 1 recording(s) are in source and target, such as X-ann-anger-0.wav" in done.stdout


def test_doctor_and_version(call: Call) -> None:
    done = call("doctor")
    assert done.exit_code == 0, done.output
    for word in (__version__, "torch", "cores", "cache", "none named", "(none yet)"):
        assert word in done.stdout
    assert call("--version").stdout == f"clser-bench {__version__}\n"


def test_lists_import_nothing_heavy() -> None:
    done = python("-X", "importtime", "-m", "clser_bench.cli.main", "list", "methods")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "pandas", "ray", "sklearn", "scipy", "torchaudio"}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_what_is_finished_imports_neither_torch_nor_ray(
    call: Call, places: Path, command: str
) -> None:
    """As a user would call it: by Ray, which starts only where something is to run."""
    words = [command, "--manifest", str(places), "--methods", "near", "--shots", "1"]
    words += ["--seeds", "1", *(["--samples", "2"] if command == "sweep" else [])]
    assert call(*words, "--scheduler", "local").exit_code == 0
    done = python("-X", "importtime", "-m", "clser_bench.cli.main", *words)
    assert done.returncode == 0, done.stderr
    assert ("6 were there before" in done.stderr) == (command == "run")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = {"torch", "ray", "torchaudio", *(["sklearn"] if command == "run" else [])}
    assert not imported & heavy  # criteria of a sweep need scikit-learn


def test_a_closed_pipe_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        words = [sys.executable, "-m", "clser_bench.cli.main", "list", "corpora"]
        done = subprocess.run(words, stdout=closed, stderr=-1, check=False, timeout=300)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
