"""The leaderboard's page: what it holds, that it is inert, and that it stays small."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from clser_bench.errors import SpecError
from clser_bench.report.layout import lay_out
from clser_bench.report.site.build import Attached, build_site
from clser_bench.report.site.cards import MethodText
from clser_bench.report.tables import leaderboard
from clser_bench.store.records import MethodNote
from clser_bench.store.sqlite import Store
from tests.boards import PAIRS, TWELVE, run

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} $x|",
)
VOID = {"meta", "link", "br", "input", "line", "circle"}


class Tree(HTMLParser):
    """Tags and texts of a page; fails where tags are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "clser.sqlite") as opened:
        yield opened


def page_of(store, tmp_path, **wishes):
    tables = leaderboard(store, resamples=100)
    return build_site(store, tables, tmp_path / "out", **wishes)[0].read_text(encoding="utf-8")


def test_only_a_separable_advantage_is_bold(store, tmp_path):
    def bold(tree):
        return [item for item in tree.all("td") if "separable" in item.get("class", "").split()]

    run(store, {"logistic": 12, "same": 13}, seeds=6, pairs=TWELVE)
    assert [line.rank for line in leaderboard(store, resamples=100)[0].lines] == [1, 1]
    assert bold(Tree(page_of(store, tmp_path))) == []
    run(store, {"logistic": 12, "good": 22, "same": 13, "bad": 4}, seeds=6, pairs=TWELVE)
    tree = Tree(page_of(store, tmp_path))
    assert [item["data-v"] for item in bold(tree)] == ["91.6667"]
    verdicts = {line.method: line.verdict for line in leaderboard(store, resamples=100)[0].lines}
    assert verdicts["same"] == "not separable"
    assert tree.all("b") == []


def test_synthetic_speech_is_marked(store, tmp_path):
    run(store, {"m": 20}, synthetic=True)
    page = page_of(store, tmp_path)
    assert page.count("<strong>Synthetic speech") == 2
    assert "<title>clser-bench: leaderboard (synthetic speech)</title>" in page
    run(store, {"m": 20}, suite="real", tables="r")
    page = page_of(store, tmp_path)
    synthetic, real, *_ = re.findall("<section.*?</section>", page, re.DOTALL)
    assert "ynthetic" not in real
    assert "Synthetic speech:" in synthetic


def test_nothing_is_loaded_and_only_own_code_may_run(store, tmp_path):
    run(store, {"logistic": 12, "m": 20})
    page = page_of(store, tmp_path)
    tree = Tree(page)
    policy = next(item["content"] for item in tree.all("meta") if "http-equiv" in item)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    data, script = (text for text in tree.texts["script"])
    (style,) = tree.texts["style"]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert json.loads(data)["tables"]
    attributes = [(name, value) for _, found in tree.tags for name, value in found.items()]
    assert [name for name, _ in attributes if name.startswith("on") or name == "style"] == []
    addresses = {value for name, value in attributes if name in ("href", "src", "action")}
    assert [item for item in addresses if not re.match(r"#|data:,$|leaderboard\.csv$", item)] == []
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in page
    assert "https:" not in page


def test_hostile_names_stay_text(store, tmp_path):
    notes = {name: MethodNote(note=f"note: {name}") for name in HOSTILE}
    run(store, dict.fromkeys(HOSTILE, 20), notes=notes, left_out={(HOSTILE[0], "B→C", 0)})
    for name in HOSTILE:
        text = MethodText(name=name, summary=name, reference=name, departures=name)
        layout = lay_out(leaderboard(store, resamples=100)[0])
        page = page_of(store, tmp_path, cards=[text], comparisons=[[layout]])
        tree = Tree(page)
        assert len(tree.all("script")) == 2
        assert tree.all("img") == []
        assert name in tree.texts["bdi"]
        data = json.loads(tree.texts["script"][0])
        assert name in [row["method"] for row in data["tables"][0]["rows"]]
        assert "</script" not in tree.texts["script"][0]


def test_every_reference_inside_the_page_leads_somewhere_once(store, tmp_path):
    run(store, {"logistic": 12, "m": 20})
    run(store, {"logistic": 12, "m": 20}, shots=1)
    tree = Tree(page_of(store, tmp_path))
    ids = [found["id"] for _, found in tree.tags if "id" in found]
    assert len(set(ids)) == len(ids)
    named = {
        found[name] for _, found in tree.tags for name in ("aria-labelledby",) if name in found
    }
    links = {item["href"][1:] for item in tree.all("a") if item["href"].startswith("#")}
    assert named | links <= set(ids)
    assert all(item.get("scope") in ("col", "row") for item in tree.all("th"))
    assert len(tree.all("caption")) == len(tree.all("table"))


def test_the_files_are_the_same_every_time_and_hold_all_numbers(store, tmp_path):
    run(store, {"logistic": 12, "m": 20})
    tables = leaderboard(store, resamples=100)
    files = build_site(store, tables, tmp_path / "a" / "b")
    assert [file.name for file in files] == ["index.html", "leaderboard.csv"]
    before = [file.read_bytes() for file in files]
    assert [file.read_bytes() for file in build_site(store, tables, tmp_path / "a" / "b")] == before
    rows = list(csv.DictReader(files[1].read_text(encoding="utf-8").splitlines()))
    assert {row["method"] for row in rows} == {"logistic", "m"}
    assert len(rows) == 2 * (len(PAIRS) + 1)


def test_a_page_of_thirty_methods_stays_small(store, tmp_path):
    run(store, {f"method-{n}": 4 + n % 20 for n in range(30)}, pairs=TWELVE, seeds=10)
    size = len(page_of(store, tmp_path).encode())
    assert size < 500_000


def test_what_cannot_be_written_is_an_error(store, tmp_path):
    with pytest.raises(SpecError, match="no results to show"):
        build_site(store, (), tmp_path)
    run(store, {"m": 20})
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match=r"out: the site cannot be written there .*another folder"):
        page_of(store, tmp_path / "file")


def test_each_table_links_its_own_card(store, tmp_path):
    run(store, {"m": 20})
    run(store, {"m": 20}, shots=1)
    page = page_of(store, tmp_path, provenance=[None, Attached("card-b.json", "{}")])
    first, second, *_ = re.findall("<section.*?</section>", page, re.DOTALL)
    assert "card-b.json" not in first
    assert '<a href="card-b.json" download>' in second
    assert (tmp_path / "out" / "card-b.json").read_text(encoding="utf-8") == "{}"
    with pytest.raises(SpecError, match="1 provenance cards for 2 tables"):
        page_of(store, tmp_path, provenance=[None])
    with pytest.raises(SpecError, match="3 comparisons for 2 tables"):
        page_of(store, tmp_path, comparisons=[(), (), ()])


@pytest.mark.parametrize(
    "name", ["../x.json", "a/b.json", 'a".json', "A.json", "", ".json", "index.html", "a.json\n"]
)
def test_files_beside_the_page_have_harmless_names(name):
    with pytest.raises(SpecError, match="cannot be called"):
        Attached(name, "")


def test_code_in_texts_is_set_as_code_and_escaped(store, tmp_path):
    run(store, {"m": 20})
    text = MethodText(name="m", summary="a `<b>` c", reference="an `odd one", departures="`x` `y`")
    page = page_of(store, tmp_path, cards=[text])
    assert "<p>a <code>&lt;b&gt;</code> c</p>" in page
    assert "<dd>an `odd one</dd>" in page
    assert "<p><code>x</code> <code>y</code></p>" in page
