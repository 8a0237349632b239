"""The leaderboard's page in a real browser: no request, no error, and what users do works."""

from __future__ import annotations

import json

import pytest

from clser_bench.report.comparison_text import layouts
from clser_bench.report.crossed_comparison import compare
from clser_bench.report.site.build import Attached, build_site
from clser_bench.report.site.cards import MethodText
from clser_bench.report.tables import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import TWELVE, run
from tests.chromium import open_browser

HOSTILE = "<script>alert(1)</script>"
ENTER, ESCAPE, RIGHT, DOWN = "\ue007", "\ue00c", "\ue014", "\ue015"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = open_browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two tables; a hostile name, a bound, an oracle and a hole in the first."""
    folder = tmp_path_factory.mktemp("site")
    methods = {HOSTILE: 20, "logistic": 12, "weak": 4, "chance": 8, "best": 24, "holed": 16}
    notes = {name: MethodNote(note=f"note of {name}") for name in methods}
    notes |= {"chance": MethodNote(role="bound"), "best": MethodNote(role="oracle")}
    with Store(folder / "clser.sqlite") as store:
        run(store, methods, seeds=4, pairs=TWELVE, notes=notes, left_out={("holed", "B→C", 0)})
        run(store, {"logistic": 14}, shots="all", seeds=1, pairs=TWELVE, notes=notes)
        tables = leaderboard(store, resamples=200)
        return build_site(
            store,
            tables,
            folder / "out",
            comparisons=[layouts(compare(store, table, resamples=200)) for table in tables],
            cards=[MethodText(name="weak", summary="a `b`", reference="c", departures="d")],
            provenance=[Attached("card-0.json", "{}"), None],
        )[0]


@pytest.fixture
def page(browser, site):
    """The browser, at the page as it is when it is opened."""
    browser.emulate(1400, "light")
    browser("POST", "url", {"url": "about:blank"})
    browser.log("browser")
    browser.log("performance")
    browser("POST", "url", {"url": site.as_uri()})
    return browser


def methods(page):
    """Names of the rows that are shown, of ranked methods."""
    return page.run(
        "return [...document.querySelectorAll('#table-0 tbody tr:not([hidden]):not([class]) th')]"
        ".map((head) => head.querySelector('bdi').textContent)"
    )


def test_the_page_loads_nothing_and_complains_of_nothing(page, site):
    assert page.run("return document.querySelectorAll('.view:not([hidden])').length") == 1
    assert page.log("browser") == []
    events = [json.loads(item["message"])["message"] for item in page.log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in requests if not url.startswith("data:")] == [site.as_uri()]


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


def test_a_hostile_name_stays_text(page):
    assert HOSTILE in methods(page)
    assert page.run("return document.scripts.length") == 2
    titles = page.run("return [...document.querySelectorAll('.card h3')].map((h) => h.textContent)")
    assert HOSTILE in titles
    assert HOSTILE[:20] in page.run("return document.querySelector('#table-0 svg').textContent")


def test_sorting(page):
    mean = "document.querySelectorAll('#table-0 thead th')[2]"
    click = f"{mean}.querySelector('button').click(); return {mean}.getAttribute('aria-sort')"
    order = methods(page)
    assert order == [HOSTILE, "logistic", "weak", "holed"]
    assert page.run(f"return {mean}.getAttribute('aria-sort')") == "descending"
    assert page.run(click) == "ascending"
    assert methods(page) == ["weak", "logistic", HOSTILE, "holed"]  # a hole is last both ways
    assert page.run(click) == "descending"
    assert methods(page) == order
    places = page.run(
        "return [...document.querySelectorAll('#table-0 tbody tr')].map((row) => row.className)"
    )
    assert (places[0], places[-1]) == ("bound", "oracle")
    page.run("document.querySelector('#table-0 thead button').click()")
    assert methods(page) == [HOSTILE, "holed", "logistic", "weak"]


def test_filtering(page):
    found = page("POST", "element", {"using": "css selector", "value": "#table-0 input"})
    (element,) = found.values()
    page("POST", f"element/{element}/value", {"text": "LOGIS"})
    assert methods(page) == ["logistic"]
    count = "return document.querySelector('#table-0 [role=status]').textContent"
    assert page.run(count) == "1 of 6 rows"
    stops = "return [...document.querySelectorAll('#table-0 td button')]"
    (stop,) = page.run(f"{stops}.filter((b) => b.tabIndex === 0).map((b) => b.dataset.cell)")
    row = page.run("return document.querySelector('#table-0 tbody tr:not([hidden]) td button')"
                   ".dataset.cell")  # fmt: skip
    assert stop == row
    page("POST", f"element/{element}/clear")
    assert page.run(count) == "6 of 6 rows"
    page("POST", f"element/{element}/value", {"text": "better"})
    assert methods(page) == [HOSTILE]


def test_a_cell_opens_with_the_keyboard(page):
    """The reference is right in 12 of 24, and 4 draws add up."""
    page.run("document.querySelectorAll('#table-0 tbody td button')[0].focus()")
    page.press(RIGHT, DOWN, DOWN, ENTER)
    assert page.run("return document.querySelector('#cell').open")
    title = page.run("return document.querySelector('#cell-title').textContent")
    assert title == "logistic, B→R"
    matrix = page.run(
        "return [...document.querySelectorAll('#cell tbody tr')].map((row) =>"
        " [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[0] for row in matrix] == ["anger", "happiness", "sadness"]
    counts = [[int(count) for count in row[1:4]] for row in matrix]
    assert [sum(row) for row in counts] == [32, 32, 32]
    assert sum(counts[place][place] for place in range(3)) == 48
    recalls = [float(row[4].removesuffix(" %")) for row in matrix]
    assert recalls == pytest.approx([counts[k][k] / 0.32 for k in range(3)], abs=0.051)
    text = page.run("return document.querySelector('#cell-body').textContent")
    assert "(n = 4)" in text
    assert "seed 3: 50.00" in text
    assert "c=0.05, steps=3, whiten=True" in text
    page.press(ESCAPE)
    assert not page.run("return document.querySelector('#cell').open")
    assert page.run("return document.activeElement.dataset.cell") is not None


def test_a_hole_tells_its_reason(page):
    page.run("document.querySelector('#table-0 .hole button').click()")
    text = page.run("return document.querySelector('#cell').textContent")
    assert "not run yet (1 of 4 draws)" in text
    remarks = page.run("return document.querySelector('#table-0 .remarks').textContent")
    assert "holed, B→C: failed: not run yet (1 of 4 draws)" in remarks


def test_every_part_has_an_address(page, site):
    shown = "return [...document.querySelectorAll('.view:not([hidden])')].map((view) => view.id)"
    current = "return document.querySelector('nav [aria-current]').textContent"
    names = ("table-0", "table-1", "comparisons", "methods", "protocol")
    for place, name in (*enumerate(names), (0, "table-0")):
        page.run("document.querySelectorAll('nav a')[arguments[0]].click()", place)
        page.run("window.dispatchEvent(new HashChangeEvent('hashchange'))")
        assert page.run(shown) == [name]
    page.run("document.querySelector('#table-0 tbody th a').click()")
    page.run("window.dispatchEvent(new HashChangeEvent('hashchange'))")
    assert page.run(shown) == ["methods"]
    assert page.run(current) == "Methods"
    assert page.run("return document.activeElement.className") == "card"


def test_the_theme_can_be_chosen(page):
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(ground)
    page.emulate(1400, "dark")
    dark = page.run(ground)
    assert light != dark
    toggle = "document.getElementById('theme').click()"
    seen = [page.run(f"{toggle}; {ground}") for _ in range(3)]
    assert seen == [light, dark, dark]


CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const rgb = (colour) => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = (colour) => colour.slice(0, 3).map((value) => value / 255)
  .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = rgb(getComputedStyle(at).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
};
const bad = [];
for (const element of document.querySelectorAll('body *:not(script)')) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const colour = element.closest('svg') ? style.fill : style.color;
  const [one, other] = [luminance(rgb(colour)), luminance(ground(element))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) bad.push(`${element.outerHTML.slice(0, 90)}: ${ratio.toFixed(2)}`);
}
return bad;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(page, theme):
    page.emulate(1400, theme)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    for place in range(5):
        page.run("document.querySelectorAll('nav a')[arguments[0]].click()", place)
        page.run("window.dispatchEvent(new HashChangeEvent('hashchange'))")
        assert page.run(CONTRAST) == []
    page.run("location.hash = ''; window.dispatchEvent(new HashChangeEvent('hashchange'))")
    page.run(
        "const select = document.querySelector('#table-0 select'); select.value = 'gap';"
        "select.dispatchEvent(new Event('change'))"
    )
    assert page.run(CONTRAST) == []
    page.run("document.querySelectorAll('#table-0 td button')[20].click()")
    assert page.run(CONTRAST) == []


@pytest.mark.parametrize("width", [390, 900, 1400])
def test_only_tables_scroll_sideways(page, width):
    page.emulate(width, "light")
    wide = "return document.documentElement.scrollWidth"
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    for place in range(5):
        page.run("document.querySelectorAll('nav a')[arguments[0]].click()", place)
        page.run("window.dispatchEvent(new HashChangeEvent('hashchange'))")
        assert page.run(wide) <= width
    page.run("location.hash = ''; window.dispatchEvent(new HashChangeEvent('hashchange'))")
    left = (
        "const box = document.querySelector('#table-0 .scroll'); box.scrollLeft = 300;"
        "return document.querySelector('#table-0 tbody th').getBoundingClientRect().left"
        " - box.getBoundingClientRect().left"
    )
    assert page.run(left) == pytest.approx(1, abs=1)
