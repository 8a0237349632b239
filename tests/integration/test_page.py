"""`clser-bench leaderboard --html`: the files it writes, and the page in a real browser."""

from __future__ import annotations

import csv
import json
import re

import pytest
from typer.testing import CliRunner

from clser_bench.cli.main import MISUSED, app
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import TWELVE, run
from tests.chromium import open_browser

HOSTILE = "<script>alert(1)</script>"
METHODS = {HOSTILE: 20, "logistic": 12, "near": 4, "best": 24, "holed": 16}
KEY = "bc,minimal,5"
BACKSPACE, ENTER, ESCAPE = "\ue003", "\ue007", "\ue00c"
OWN = '''"""The nearest <b>prototype</b> wins.

Reference: Nobody & Noone, *Near*, 1999: equation 1,
with `weight` 2.

A paragraph of its own.

Departures: <img src=x onerror=alert(1)>
none.
"""

raise RuntimeError("this file must be read, not run")


@register("near", version=1)
class Near:
    pass
'''


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two tables; a hostile name, an oracle and a missing cell in the first."""
    file = tmp_path_factory.mktemp("results") / "clser.sqlite"
    notes = {name: MethodNote(note=f"note of {name}", uses=("target",)) for name in METHODS}
    notes |= {"best": MethodNote(role="reference")}
    common = {"pairs": TWELVE, "notes": notes, "features": "minimal"}
    with Store(file) as store:
        run(store, METHODS, seeds=4, left_out={("holed", "B→C", 0)}, shots=5, **common)
        run(store, {"logistic": 14}, shots="all", seeds=1, **common)
    return file


@pytest.fixture(scope="module")
def write(results, tmp_path_factory):
    """Call the command with a folder to write to."""
    methods = tmp_path_factory.mktemp("methods")
    (methods / "near.py").write_text(OWN, encoding="utf-8")

    def called(folder, *arguments):
        options = ["--html", str(folder), *arguments, "--results", str(results)]
        environment = {"CLSER_METHODS": str(methods)}
        return CliRunner().invoke(app, ["leaderboard", *options], env=environment)

    return called


@pytest.fixture(scope="module")
def site(write, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    result = write(folder)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        str(folder / n) for n in ("index.html", "leaderboard.csv")
    ]
    return folder


def test_the_files_hold_the_numbers_and_hostile_text_is_escaped(site):
    numbers = (site / "leaderboard.csv").read_text(encoding="utf-8")
    assert {row["shots"] for row in csv.DictReader(numbers.splitlines())} == {"all", "5"}
    page = (site / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("<script", page)) == 2
    assert "<img" not in page
    assert not re.search(r"https?:", page.replace("http://www.w3.org/2000/svg", ""))
    found = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data = json.loads(found[1])
    assert [one["rules"]["shots"] for one in data["conditions"]] == ["5", "all"]
    rows = {row["method"]: row for row in data["conditions"][0]["methods"]}
    assert set(rows) == {*METHODS, "chance level"}
    assert rows["logistic"]["mean"] == rows["logistic"]["cells"][0]["mean"] == 50
    assert sum(rows["logistic"]["cells"][0]["confusion"]) == 4 * 24
    assert rows["holed"]["cells"][0]["reason"] == "not run yet (1 of 4 draws)"
    near = next(card for card in data["methods"] if card["name"] == "near")
    assert near["summary"] == "The nearest <b>prototype</b> wins."
    assert near["reference"] == "Nobody & Noone, *Near*, 1999: equation 1, with `weight` 2."
    assert near["departures"] == "<img src=x onerror=alert(1)> none."


def test_nothing_to_show_is_an_error(write, tmp_path):
    result = write(tmp_path / "site", "--suite", "other")
    assert result.exit_code == MISUSED
    assert "there are no results of suite 'other'; there are of: " in result.stderr
    assert not (tmp_path / "site").exists()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = open_browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def page(browser, site):
    """The browser, at the page as it is when it is opened."""
    browser.emulate(1400, "light")
    browser("POST", "url", {"url": "about:blank"})
    browser.log("browser")
    browser.log("performance")
    browser("POST", "url", {"url": (site / "index.html").as_uri()})
    yield browser
    assert [item["message"] for item in browser.log("browser")] == []


def shown(page):
    """Names of the rows that are shown, of ranked methods."""
    return page.run(
        "return [...document.querySelectorAll('#table tbody:not(.aside) th')].map((h) => h.title)"
    )


def test_the_page_loads_nothing(page, site):
    events = [json.loads(item["message"])["message"] for item in page.log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    own = (site / "index.html").as_uri()
    assert [url for url in requests if not url.startswith("data:")] == [own]


def test_the_policy_forbids_foreign_scripts_and_requests(page):
    page.run(
        "const made = document.createElement('script');"
        "made.textContent = 'window.foreign = 1'; document.body.append(made);"
        "const image = new Image(); image.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(image); document.body.setAttribute('onclick', 'window.foreign = 2');"
        "document.body.click()"
    )
    assert page.run("return window.foreign === undefined")
    assert sum("Content Security Policy" in item["message"] for item in page.log("browser")) >= 3


def test_hostile_names_stay_text(page):
    assert HOSTILE in shown(page)
    assert page.run("return document.scripts.length") == 2
    titles = page.run(
        "return [...document.querySelectorAll('#methods h3')].map((h) => h.textContent)"
    )
    assert HOSTILE in titles
    assert HOSTILE[:20] in page.run("return document.querySelector('#forest svg').textContent")


def test_sorting(page):
    mean = "document.querySelector('#table [data-key=mean]')"
    click = f"{mean}.click(); return {mean}.closest('th').getAttribute('aria-sort')"
    order = [HOSTILE, "logistic", "near", "holed"]
    assert shown(page) == order
    assert page.run(click) == "ascending"
    assert shown(page) == ["near", "logistic", HOSTILE, "holed"]  # a missing mean is last both ways
    assert page.run(click) == "descending"
    assert shown(page) == order
    page.run("document.querySelector('#table [data-key=method]').click()")
    assert shown(page) == [HOSTILE, "holed", "logistic", "near"]


def test_filtering(page):
    found = page("POST", "element", {"using": "css selector", "value": "#filter"})
    (element,) = found.values()
    page("POST", f"element/{element}/value", {"text": "LOGIS"})
    assert shown(page) == ["logistic"]
    assert page.run("return document.getElementById('count').textContent") == "1 of 6 methods"
    page.press(*[BACKSPACE] * 5)
    assert len(shown(page)) == 4


def test_a_cell_opens_and_closes_with_the_keyboard(page):
    """The reference is right in 12 of 24, and 4 draws add up."""
    cell = "document.querySelector('#table [aria-label^=\"logistic, B→R\"]')"
    page.run(f"{cell}.focus()")
    page.press(ENTER)
    assert page.run("return document.getElementById('cell').open")
    assert page.run("return document.getElementById('cell-title').textContent") == "logistic, B→R"
    titles = page.run(
        "return [...document.querySelectorAll('#cell tbody tr')].map((row) =>"
        " [...row.querySelectorAll('td')].map((box) => box.title))"
    )
    counts = [[int(title.split()[0]) for title in row] for row in titles]
    assert [sum(row) for row in counts] == [32, 32, 32]
    assert sum(counts[place][place] for place in range(3)) == 48
    text = page.run("return document.getElementById('cell-body').textContent")
    assert "UAR 50.0 ± 0.0, n = 4; by draw: 50.0, 50.0, 50.0, 50.0" in text
    assert "c=0.05, steps=3, whiten=True" in text
    page.press(ESCAPE)
    assert not page.run("return document.getElementById('cell').open")


def test_a_missing_cell_has_its_reason(page):
    page.run("document.querySelector('#table .missing button').click()")
    text = page.run("return document.getElementById('cell').textContent")
    assert "No result (failed): not run yet (1 of 4 draws)" in text


def test_a_cell_and_a_condition_have_an_address(page, site):
    page.run("document.querySelector('#table [aria-label^=\"near, C→B\"]').click()")
    fragment = page.run("return location.hash")
    page("POST", "url", {"url": "about:blank"})
    page("POST", "url", {"url": f"{(site / 'index.html').as_uri()}{fragment}"})
    assert page.run("return decodeURIComponent(location.hash)") == f"#{KEY}/near/C→B"
    assert page.run("return document.getElementById('cell-title').textContent") == "near, C→B"
    page.press(ESCAPE)
    page.run(
        "const select = document.querySelector('#conditions [name=shots]'); select.value = 'all';"
        "select.dispatchEvent(new Event('change'))"
    )
    assert shown(page) == ["logistic"]
    assert page.run("return decodeURIComponent(location.hash)") == "#bc,minimal,all"


@pytest.mark.parametrize("width", [390, 900, 1400])
def test_only_tables_scroll_sideways(page, width):
    page.emulate(width, "light")
    assert page.run("return document.documentElement.scrollWidth") <= width
    last = (
        "const box = document.getElementById('scroll'); box.scrollLeft = box.scrollWidth;"
        "return box.querySelector('thead th:last-child').getBoundingClientRect().right"
        " - box.getBoundingClientRect().right"
    )
    assert page.run(last) <= 1
    left = (
        "const box = document.getElementById('scroll');"
        "return box.querySelector('tbody th').getBoundingClientRect().left"
        " - box.getBoundingClientRect().left"
    )
    assert abs(page.run(left)) <= 2
