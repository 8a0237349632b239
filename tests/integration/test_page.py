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
    names = ("index.html", "leaderboard.csv")
    assert result.stdout.splitlines() == [str(folder / name) for name in names]
    return folder


def test_the_files_hold_the_numbers_and_hostile_text_is_escaped(site):
    numbers = (site / "leaderboard.csv").read_text(encoding="utf-8")
    assert {row["shots"] for row in csv.DictReader(numbers.splitlines())} == {"all", "5"}
    page = (site / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("<script", page)) == 2
    assert "<img" not in page
    assert not re.search(r"https?:", page.replace("http://www.w3.org/2000/svg", ""))
    found = re.search('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
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


def texts(page, selector, field="textContent"):
    """A field of every element that a selector finds."""
    return page.run(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one[arguments[1]])",
        *(selector, field),
    )


def shown(page):
    """Names of the rows that are shown, of ranked methods."""
    return texts(page, "#table tbody:not(.aside) th", "title")


def click(page, selector):
    page.run("document.querySelector(arguments[0]).click()", selector)


def test_the_page_loads_nothing_and_hostile_names_stay_text(page, site):
    events = [json.loads(item["message"])["message"] for item in page.log("performance")]
    sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [params["request"]["url"] for params in sent]
    own = (site / "index.html").as_uri()
    assert [url for url in urls if not url.startswith("data:")] == [own]
    assert HOSTILE in shown(page)
    assert page.run("return document.scripts.length") == 2
    assert HOSTILE in texts(page, "#methods h3")
    assert HOSTILE[:20] in texts(page, "#forest svg")[0]


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


def test_sorting(page):
    order = [HOSTILE, "logistic", "near", "holed"]
    assert shown(page) == order
    # a missing mean is last both ways
    rising = ["near", "logistic", HOSTILE, "holed"]
    for way, rows in (("ascending", rising), ("descending", order)):
        click(page, "#table [data-key=mean]")
        assert texts(page, "#table th:has([data-key=mean])", "ariaSort") == [way]
        assert shown(page) == rows
    click(page, "#table [data-key=method]")
    assert shown(page) == [HOSTILE, "holed", "logistic", "near"]


def test_filtering(page):
    found = page("POST", "element", {"using": "css selector", "value": "#filter"})
    (element,) = found.values()
    page("POST", f"element/{element}/value", {"text": "LOGIS"})
    assert shown(page) == ["logistic"]
    assert texts(page, "#count") == ["1 of 6 methods"]
    page.press(*[BACKSPACE] * 5)
    assert len(shown(page)) == 4


def test_a_cell_opens_and_closes_with_the_keyboard(page):
    """The reference is right in 12 of 24, and 4 draws add up."""
    page.run("document.querySelector('#table [aria-label^=\"logistic, B→R\"]').focus()")
    page.press(ENTER)
    assert texts(page, "#cell", "open") == [True]
    assert texts(page, "#cell-title") == ["logistic, B→R"]
    counts = [int(title.split()[0]) for title in texts(page, "#cell tbody td", "title")]
    assert [sum(counts[row : row + 3]) for row in (0, 3, 6)] == [32, 32, 32]
    assert sum(counts[0::4]) == 48
    (text,) = texts(page, "#cell-body")
    assert "UAR 50.0 ± 0.0, n = 4; by draw: 50.0, 50.0, 50.0, 50.0" in text
    assert "c=0.05, steps=3, whiten=True" in text
    page.press(ESCAPE)
    assert texts(page, "#cell", "open") == [False]
    click(page, "#table .missing button")
    assert "No result (failed): not run yet (1 of 4 draws)" in texts(page, "#cell")[0]


def test_a_cell_and_a_condition_have_an_address(page, site):
    click(page, '#table [aria-label^="near, C→B"]')
    fragment = page.run("return location.hash")
    page("POST", "url", {"url": "about:blank"})
    page("POST", "url", {"url": f"{(site / 'index.html').as_uri()}{fragment}"})
    assert page.run("return decodeURIComponent(location.hash)") == f"#{KEY}/near/C→B"
    assert texts(page, "#cell-title") == ["near, C→B"]
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
    last, left = page.run(
        "const box = document.getElementById('scroll'); box.scrollLeft = box.scrollWidth;"
        "const edges = (one) => one.getBoundingClientRect();"
        "return [edges(box.querySelector('thead th:last-child')).right - edges(box).right,"
        " edges(box.querySelector('tbody th')).left - edges(box).left]"
    )
    assert last <= 1
    assert abs(left) <= 2
