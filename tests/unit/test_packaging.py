"""The installed package is the tree: nothing left out, and no plugin imported by name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from clser_bench import registry

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGIN_FOLDERS = {"clser_bench.methods": "methods", "clser_bench.tasks": "tasks"}
DATA_FOLDERS = {"clser_bench.docs": "docs", "clser_bench.results": "results"}


def text_of(*parts):
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def files_of(folder):
    return sorted(f for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".toml"))


def imported(file):
    """Every module that a file imports, wherever in it; none where it speaks of no plugins."""
    text, names = text_of(file), set()
    for node in ast.walk(ast.parse(text)) if re.search(r"\b(methods|tasks)\b", text) else ():
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_package_of_the_tree_is_listed_and_has_every_module():
    folders = {file.parent for file in (ROOT / "clser_bench").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []
    tree = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(tree | set(PLUGIN_FOLDERS) | set(DATA_FOLDERS))


def test_plugin_folders_are_mapped_into_the_package_without_subfolders():
    assert PROJECT["tool"]["setuptools"]["package-dir"] == PLUGIN_FOLDERS | DATA_FOLDERS
    for package, folder in PLUGIN_FOLDERS.items():
        places = map(Path, importlib.import_module(package).__path__)
        assert (ROOT / folder).resolve() in [place.resolve() for place in places]
        assert {file.parent for file in (ROOT / folder).rglob("*.py")} == {ROOT / folder}


def test_plugins_import_under_their_package_name():
    registered = {Path(entry.file).stem for entry in registry.entries().values()}
    assert registered == {f.stem for f in (ROOT / "methods").glob("*.py") if f.stem[0] != "_"}
    for name in registered:
        spec = importlib.util.find_spec(f"clser_bench.methods.{name}")
        assert spec
        assert Path(spec.origin or "").name == f"{name}.py"


def test_what_is_light_imports_nothing_heavy():
    imports = (
        ("from clser_bench.features.sets import feature_set; feature_set('egemaps')", "soundfile"),
        ("import clser_bench.report.render", "scipy.stats sklearn matplotlib"),
        ("import clser_bench.report.table", "scipy.stats sklearn matplotlib"),
        ("import clser_bench.api", ""),
    )
    found = "print([name for name in {!r}.split() if name in sys.modules])"
    heavy = "torch torchaudio opensmile ray "
    code = ["import sys", *(f"{one}\n{found.format(heavy + more)}" for one, more in imports)]
    words = [sys.executable, "-c", "\n".join(code)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" * len(imports)


def test_no_file_imports_a_plugin_by_name():
    plugin = re.compile(r"(clser_bench\.)?(methods|tasks)\..+|clser_bench\.(methods|tasks)")
    folders = ("clser_bench", "methods", "tasks", "tests", "benchmarks")
    files = [file for folder in folders for file in files_of(folder) if file.suffix == ".py"]
    found = {(file, name) for file in files for name in imported(file)}
    named = {(file, name) for file, name in found if plugin.fullmatch(name)}
    assert named == set()


def test_files_that_the_package_names_are_in_the_wheel():
    """Help, errors and docstrings name no document or result that an installed user lacks."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = {
        path.relative_to(ROOT).as_posix()
        for package, folder in DATA_FOLDERS.items()
        for pattern in data[package]
        for path in (ROOT / folder).glob(pattern)
    }
    assert {"docs/corpora.md", "docs/protocol.md", "results/published/sere.toml"} <= shipped
    named = re.compile(r"\b(?:docs|results(?!/sweeps))/[\w/-]+\.(?:md|toml)")
    files = [file for folder in ("clser_bench", "methods", "tasks") for file in files_of(folder)]
    lacking = [(file, name) for file in files for name in named.findall(text_of(file))]
    assert [pair for pair in lacking if pair[1] not in shipped] == []


def test_images_copy_all_that_the_package_is_built_from():
    for recipe in ("Dockerfile", "apptainer.def"):
        text = text_of(recipe)
        for name in ("clser_bench", *PLUGIN_FOLDERS.values(), *DATA_FOLDERS.values()):
            assert re.search(rf"^\s*(COPY )?{name} ", text, re.M), f"{recipe} lacks {name}"


def test_links_between_documents_lead_somewhere():
    """Those of the site are checked by `make docs`; here those of a checkout."""
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            place, _, anchor = link.partition("#")
            if re.match(r"https?:|mailto:", link):
                continue
            target = page.parent / place if place else page
            if page.parent.name == "docs" and place == "methods.md":
                continue  # the site makes it
            assert target.exists(), f"{page.name}: {link}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", text_of(target), re.M)
                slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
                assert anchor in slugs, f"{page.name}: {link}"


def test_constraints_pin_every_dependency_exactly():
    lines = text_of("constraints.txt").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []
    pinned = {normal(pin.split("==")[0]) for pin in pins}
    extras = PROJECT["project"]["optional-dependencies"].values()
    wanted = [*PROJECT["project"]["dependencies"], *(name for extra in extras for name in extra)]
    assert {normal(re.split(r"[\[<>=!~ ]", name)[0]) for name in wanted} - pinned == set()


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_make_file_installs_extras_that_exist():
    line = re.search(r"^EXTRAS := (.+)$", text_of("Makefile"), re.M)
    assert line
    assert set(line[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
