"""The installed package is the tree: nothing left out, and no plugin imported by name."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import clser_bench.methods
from clser_bench import registry

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGIN_FOLDERS = {"clser_bench.methods": "methods", "clser_bench.tasks": "tasks"}
DATA_FOLDERS = {"clser_bench.docs": "docs", "clser_bench.results": "results"}


def imported(file: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_package_of_the_tree_is_listed_and_has_every_module() -> None:
    folders = {file.parent for file in (ROOT / "clser_bench").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
    tree = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(tree | set(PLUGIN_FOLDERS) | set(DATA_FOLDERS))


def test_plugin_folders_are_mapped_into_the_package_without_subfolders() -> None:
    assert PROJECT["tool"]["setuptools"]["package-dir"] == PLUGIN_FOLDERS | DATA_FOLDERS
    for package, folder in PLUGIN_FOLDERS.items():
        places = map(Path, importlib.import_module(package).__path__)
        assert (ROOT / folder).resolve() in [place.resolve() for place in places]
        assert {file.parent for file in (ROOT / folder).rglob("*.py")} == {ROOT / folder}


def test_plugins_import_under_their_package_name() -> None:
    registered = {Path(entry.file).stem for entry in registry.entries().values()}
    assert registered == {f.stem for f in (ROOT / "methods").glob("*.py") if f.stem[0] != "_"}
    for name in registered:
        module = importlib.import_module(f"{clser_bench.methods.__name__}.{name}")
        assert Path(module.__file__ or "").name == f"{name}.py"


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import clser_bench.api", "torch ray"),
        (
            "import clser_bench.report.render, clser_bench.report.table",
            "torch ray scipy.stats sklearn matplotlib",
        ),
        (
            "from clser_bench.features.sets import feature_set; feature_set('egemaps')",
            "torch torchaudio opensmile soundfile",
        ),
    ],
)
def test_what_is_light_imports_nothing_heavy(code: str, heavy: str) -> None:
    code = f"import sys; {code}; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_file_imports_a_plugin_by_name() -> None:
    plugin = re.compile(r"(clser_bench\.)?(methods|tasks)\..+|clser_bench\.(methods|tasks)")
    folders = ("clser_bench", "methods", "tasks", "tests", "benchmarks")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    found = {(file, name) for file in files for name in imported(file)}
    named = {(file, name) for file, name in found if plugin.fullmatch(name)}
    assert named == {(Path(__file__), "clser_bench.methods")}


def test_files_that_the_package_names_are_in_the_wheel() -> None:
    """Help, errors and docstrings name no document or result that an installed user lacks."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = {
        path.relative_to(ROOT).as_posix()
        for package, folder in DATA_FOLDERS.items()
        for pattern in data[package]
        for path in (ROOT / folder).glob(pattern)
    }
    assert {"docs/corpora.md", "docs/protocol.md", "results/published/sere.toml"} <= shipped
    named = {
        (file.name, name)
        for folder in ("clser_bench", "methods", "tasks")
        for suffix in ("*.py", "*.toml")
        for file in (ROOT / folder).rglob(suffix)
        for name in re.findall(r"\b(?:docs|results)/[\w/-]+\.(?:md|toml)", file.read_text("utf-8"))
        if "results/sweeps" not in name
    }
    assert {pair for pair in named if pair[1] not in shipped} == set()


def test_images_copy_all_that_the_package_is_built_from() -> None:
    for recipe in ("Dockerfile", "apptainer.def"):
        text = (ROOT / recipe).read_text("utf-8")
        for name in ("clser_bench", *PLUGIN_FOLDERS.values(), *DATA_FOLDERS.values()):
            assert re.search(rf"^\s*(COPY )?{name} ", text, re.M), f"{recipe} lacks {name}"


def test_links_between_documents_lead_somewhere() -> None:
    """Those of the site are checked by `make docs`; here those of a checkout."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            place, _, anchor = link.partition("#")
            if re.match(r"https?:|mailto:", link):
                continue
            target = page.parent / place if place else page
            if page.parent.name == "docs" and place == "methods.md":
                continue  # the site makes it
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M)
                slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
                assert anchor in slugs, f"{page.name}: {link}"


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    pinned = {normal(pin.split("==")[0]) for pin in pins}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(name for extra in extras for name in extra)]
    assert {normal(re.split(r"[\[<>=!~ ]", name)[0]) for name in wanted} - pinned == set()


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_make_file_installs_extras_that_exist() -> None:
    line = re.search(r"^EXTRAS := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert line
    assert set(line[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
