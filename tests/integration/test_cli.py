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
from tests.tiny import write_corpora

RESULTS = Path("results/clser.sqlite")
pytestmark = pytest.mark.usefixtures("packed")


@pytest.fixture
def call(call):
    """Runs the command line, which must end with a status: `code`."""

    def checked(*arguments, code=0):
        done = call(*arguments)
        assert done.exit_code == code, done.output
        assert "Traceback" not in done.output
        return done

    return checked


@pytest.fixture
def run(places, call):
    usual = ("--manifest", str(places), "--shots", "1", "--seeds", "2", "--scheduler", "local")
    return lambda *more, code=0: call("run", *usual, "--pairs", "X->Y,Y->X", *more, code=code)


def imported_by(*arguments):
    """The stderr of a command in a process of its own, and the modules that it imported."""
    words = [sys.executable, "-X", "importtime", "-m", "clser_bench.cli.main", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stderr, {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_a_run_prints_its_table_and_nothing_else_to_stdout(run):
    done = run("--methods", "near,within-target")
    assert re.search(r"custom-[0-9a-f]{6}, 1 shot, transductive", done.stdout)
    assert "trials" not in done.stdout
    assert "6 of 6 trials stored in results/clser.sqlite." in done.stderr
    lines = done.stdout.splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.startswith("within-target (reference)")]
    assert (lines[place - 2][:4], lines[place - 1]) == ("near", ""), "a reference stands apart"


def test_joules_without_codecarbon_name_the_extra(run, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    needs = "--with energy needs the extra 'energy': pip install 'clser-bench[energy]'"
    assert needs in run("--methods", "near", "--with", "energy", code=2).stderr
    assert not RESULTS.parent.exists()
    run("--methods", "near")
    table = call("leaderboard", "--with", "energy", "--format", "json")
    assert {row["energy"] for row in json.loads(table.stdout)} == {None}


def test_only_the_asked_shots_and_rules_are_shown(run):
    run("--methods", "near")
    run("--methods", "near", "--classes", "fixed4")
    done = run("--methods", "near", "--shots", "2", "--format", "json")
    titles = {(t["suite"].split("-")[0], t["shots"]) for t in json.loads(done.stdout)}
    assert titles == {("custom", 2)}


def test_failed_cells_end_with_1_and_status_says_why(run, call):
    done = run("--methods", "near,bad", code=1)
    assert "4 failed (see `clser-bench status`)" in done.stderr
    assert "near" in done.stdout
    done = call("status")
    names, row = done.stdout.splitlines()
    assert names.split("\t")[:2] == ["suite", "planned"]
    assert row.split("\t", 1)[1] == "8\t4\t0\t4\t0\t100 %"
    assert "failed: bad: 4 trials: RuntimeError: as asked" in done.stderr
    with sqlite3.connect(RESULTS) as database:
        database.execute("DELETE FROM records WHERE status = 'failed'")
    database.close()
    assert "rows of records are not those that were written" in call("status", code=2).stderr


def test_what_reads_results_changes_nothing_and_says_that_it_reads_many(run, call, monkeypatch):
    run("--methods", "near,chance")
    before = RESULTS.read_bytes()
    monkeypatch.setattr(output, "_MANY", 8)
    for name in ("leaderboard", "compare", "breakdown", "robustness", "status", "card"):
        done = call(name, code=2 if name == "robustness" else 0)  # nothing is corrupted
        assert "reading results/clser.sqlite: 8 trials\n" in done.stderr, name
        assert RESULTS.read_bytes() == before, name
    monkeypatch.setattr(output, "_MANY", 9)
    for name in ("status", "figures out", "results verify", "export x.parquet"):
        assert "reading" not in call(*name.split()).stderr, name
        assert RESULTS.read_bytes() == before, name


def test_resume_repeats_the_options(run, call):
    run("--methods", "near", "--normalise", "speaker", "--set", "near.weight=0.5")
    with Store(RESULTS) as store:
        options = store.runs()[-1].request
    done = call("resume", "--format", "csv")
    assert "4 were there before" in done.stderr
    assert "speaker" in done.stdout
    with Store(RESULTS) as store:
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
def test_errors_are_one_line_without_a_traceback(call, arguments, message):
    done = call(*arguments, code=2)
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
    assert done.stdout == ""
    assert not RESULTS.exists()


def test_a_choice_is_named_in_plain_words(call):
    done = call("breakdown", "--by", "foo", code=2)
    assert "Invalid value for '--by': 'foo' is not one of 'emotion'" in done.stderr


def test_lists_are_plain_in_a_pipe(call):
    names = [line.split("\t")[0] for line in call("list", "methods").stdout.splitlines()]
    assert names == [*entries(), *ROUTINES]
    assert "bcro\tB C R O\t12\t" in call("list", "suites").stdout
    assert "\nB\temodb\t" in call("list", "corpora").stdout
    assert "acoustic\t" in call("list", "features").stdout


def test_show_tells_what_can_be_set(call):
    done = call("show", "near").stdout
    assert "Nearest centroids." in done
    assert "weight\t1.0\t0 to 10\tnothing" in done
    assert "steps\t" in call("show", "sere-no-dual").stdout
    done = call("show", "within-target").stdout
    assert done.startswith("within-target: version 1, routine, reference\n\nReference: logistic")


def test_check_and_extract(call, places, tmp_path):
    done = call("corpus", "check", str(places))
    assert "12 utterances" in done.stdout
    assert "anger 6, sadness 6" in done.stdout
    made = call("features", "extract", "--manifest", str(places), "--workers", "1")
    assert [line.split("\t")[2] for line in made.stdout.splitlines()] == ["12", "12", "12"]
    manifest = write_corpora(tmp_path / "corpora", codes="XY")
    one, other = (manifest.parent / f"{code}-ann-anger-0.wav" for code in "XY")
    other.write_bytes(one.read_bytes())
    done = call("corpus", "check", str(manifest), "--workers", "1")
    assert "X→Y: 1 recording(s) are in source and target, such as X-ann-anger-0.wav" in done.stdout
    one.write_bytes(b"RIFF")
    done = call("corpus", "check", str(manifest), "--workers", "1", code=1)
    assert "X-ann-anger-0.wav: line 2: is not audio" in done.stdout


def test_doctor_and_version(call):
    done = call("doctor")
    for word in (__version__, "torch", "cores", "cache", "none named", "(none yet)"):
        assert word in done.stdout
    assert call("--version").stdout == f"clser-bench {__version__}\n"


def test_lists_import_nothing_heavy():
    _, imported = imported_by("list", "methods")
    assert "typer" in imported
    assert not imported & {"torch", "pandas", "ray", "sklearn", "scipy", "torchaudio"}


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_what_is_finished_imports_neither_torch_nor_ray(call, places, command):
    """As a user would call it: by Ray, which starts only where something is to run."""
    words = [command, "--manifest", str(places), "--methods", "near", "--shots", "1"]
    words += ["--seeds", "1", "--pairs", "X->Y,Y->X"]
    words += ["--samples", "2"] if command == "sweep" else []
    call(*words, "--scheduler", "local")
    stderr, imported = imported_by(*words)
    assert ("2 were there before" in stderr) == (command == "run")
    heavy = {"torch", "ray", "torchaudio", *(["sklearn"] if command == "run" else [])}
    assert not imported & heavy  # criteria of a sweep need scikit-learn


def test_a_closed_pipe_is_no_error():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        words = [sys.executable, "-m", "clser_bench.cli.main", "list", "corpora"]
        done = subprocess.run(words, stdout=closed, stderr=-1, check=False, timeout=300)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
