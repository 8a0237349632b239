"""Figures of results, whose marks lie where the numbers are, and of speech; names are text."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from clser_bench.cli.figures import file_name
from clser_bench.errors import SpecError
from clser_bench.hashing import generator
from clser_bench.protocol import EMOTIONS, Condition
from clser_bench.report import figures
from clser_bench.report.drawing import (
    COLOURS,
    EMOTION_COLOURS,
    Speech,
    draw_distributions,
    draw_projection,
    plain,
)
from clser_bench.report.drawing import render as save
from clser_bench.report.table import rows_of
from clser_bench.store.records import MethodNote
from tests.boards import TWELVE, run, tables_of
from tests.tiny import write_corpora

HOSTILE = "$\\frac{1}{0}$ <script>alert(1)</script>|\n&amp; $x `_"


def fill(store):
    notes = {"chance": MethodNote(role="bound"), HOSTILE: MethodNote(note=HOSTILE)}
    methods = {"logistic": 14, "good": 22, "bad": 6, "same": 14, HOSTILE: 15, "chance": 8}
    run(store, methods, seeds=3, pairs=TWELVE, notes=notes)


def the_axis(figure) -> Any:
    (axis,) = figure.axes
    return axis


def test_the_forest_draws_the_simultaneous_intervals_of_the_table(store):
    fill(store)
    (table,) = tables_of(store)
    axis = the_axis(figures.forest(table))
    ranked = [line for line in table.lines if line.role == "ranked" and line.difference]
    ranked.sort(key=lambda line: -line.difference.estimate)
    marks = [line for line in axis.lines if line.get_marker() == "o"]
    bars = [line for line in axis.lines if line.get_marker() != "o"][1:]  # the first is zero
    for mark, bar, line in zip(marks, bars, ranked, strict=True):
        interval = line.difference
        assert mark.get_xdata()[0] == interval.estimate
        assert tuple(bar.get_xdata()) == (interval.low, interval.high)
        separable = interval.low > 0 or interval.high < 0
        assert (mark.get_markerfacecolor() != "white") == separable
        assert (line.verdict != "not separable") == separable
    assert {line.verdict for line in ranked} == {"better", "worse", "not separable"}
    run(store, {"a": 12, "b": 6}, features="mel")
    with pytest.raises(SpecError, match="no method is compared with logistic"):
        figures.forest(tables_of(store, features="mel")[0])


def test_the_heat_map_has_each_mean_and_hatches_missing_cells(store):
    run(store, {"logistic": 12, "m": 18}, left_out={("m", "B→C", 1)})
    (table,) = tables_of(store)
    axis = the_axis(figures.heat_map(table, width=7))
    found = {tuple(text.get_position()): text.get_text() for text in axis.texts}
    lines = sorted(table.lines, key=lambda line: -(line.mean.mean or 0.0))
    for row, line in enumerate(lines):
        for column, cell in enumerate(line.cells):
            text = None if cell.mean is None else f"{cell.mean:.1f}"
            assert found.get((column, row)) == text
    assert sum(patch.get_hatch() is not None for patch in axis.patches) == 2  # the cell, the mean


def test_learning_curves_go_through_the_means(store):
    for shots in (1, 5, "all"):
        run(store, {"logistic": 12, "m": 18 if shots == 5 else 9}, shots=shots, seeds=1)
    found = tables_of(store)
    axis = the_axis(figures.learning_curves(found, methods=["m"]))
    (line,) = axis.lines
    assert line.get_ydata() == pytest.approx([table.line("m").mean.mean for table in found])
    assert [text.get_text().split("\n")[0] for text in axis.get_xticklabels()] == ["1", "5", "all"]
    with pytest.raises(SpecError, match="no results of 'n'"):
        figures.learning_curves(found, methods=["n"])
    run(store, {"m": 9}, features="mel", shots=5)
    with pytest.raises(SpecError, match="make no curve"):
        figures.learning_curves(tables_of(store))


def test_confusions_are_those_of_the_stored_metrics(store):
    run(store, {"m": 15}, seeds=3)
    (table,) = tables_of(store)
    (matrix,), classes = figures.count_confusions(store, rows_of(store.frame(), table), ["m"])
    total = sum(np.array(record.metrics.confusion) for record in store.records())
    assert (matrix == total).all()
    assert classes == ("anger", "happiness", "sadness")
    axis = figures.confusion([matrix], classes, ["m"]).axes[0]
    shares = [f"{100 * c / row.sum():.0f}" for row in matrix for c in row]
    assert [text.get_text() for text in axis.texts] == shares


def test_hostile_names_stay_text_and_bytes_stay_the_same(store):
    fill(store)
    (table,) = tables_of(store)
    for draw in (figures.forest, figures.heat_map):
        text = save(draw(table), "svg")
        ET.fromstring(text)
        assert b"<script" not in text
        assert save(draw(table), "svg") == text
        assert not draw(table, title=False).get_suptitle()


def test_names_of_files_differ_where_conditions_do():
    rules: list[dict[str, Any]] = [{}, {"features": "a/b"}, {"features": "a-b"}]
    rules += [{"corruption": "noise:10"}, {"shots": "all"}]
    conditions = [Condition(suite="bcro", **rule) for rule in rules]
    names = [file_name("forest", one) for one in (*conditions, Condition(suite="b" * 200))]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)


RESULTS = ("--results", "clser.sqlite")


def test_the_command_writes_every_figure(store, call, tmp_path):
    for shots in (1, 5):
        run(store, {"logistic": 12, "m": 18}, shots=shots)
    done = call("figures", "out", "--methods", "m,logistic", "--formats", "png,svg", *RESULTS)
    assert done.exit_code == 0, done.output
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert sorted(done.stdout.split()) == [f"out/{name}" for name in written]
    assert {path.rpartition(".")[2] for path in written} == {"png", "svg"}
    kinds = {name.partition("-bc")[0] for name in written}
    assert kinds == {"heat-map", "confusion", "shots", "forest"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("out", "--formats", "jpg"), "cannot be a 'jpg'"),
        (("out", "--formats", ","), "--formats is empty"),
        (("file", "--formats", "png"), "choose another --out"),
    ],
)
def test_the_command_for_results_says_what_is_wrong(store, call, tmp_path, words, message):
    run(store, {"logistic": 12, "m": 18})
    (tmp_path / "file").write_text("")
    done = call("figures", *words, *RESULTS)
    assert (done.exit_code, message in done.stderr) == (2, True), done.output


def speech(title: str, counts: dict[str, int], *, synthetic: bool = False) -> Speech:
    emotions = tuple(emotion for emotion, count in counts.items() for _ in range(count))
    speakers = tuple("ann" if place % 2 else "ben" for place in range(len(emotions)))
    return Speech(title=title, emotions=emotions, speakers=speakers, synthetic=synthetic)


GERMAN = speech("German", {"anger": 20, "boredom": 3, "sadness": 11})
ITALIAN = speech("Italian", {"anger": 9, "surprise": 12}, synthetic=True)


def values(one: Speech, columns: int = 2) -> np.ndarray:
    return generator("picture", one.title).standard_normal((len(one.emotions), columns))


def projected(*corpora: Speech, **more: Any) -> Any:
    """A figure; matplotlib's own types of what is drawn are unions of everything."""
    points = [values(one) for one in corpora]
    options = {"by": "emotion", "title": "acoustic, PCA", "axes": ("one", "two"), **more}
    return draw_projection(corpora, points, **options)


def violins(column: np.ndarray) -> Any:
    one = speech("One", {"fear": len(column)})
    return draw_distributions([one], [column[:, None]], measures=["m"]).axes[0]


def legends(figure: Any) -> dict[str, list[str]]:
    found = [axis.get_legend() for axis in figure.axes if axis.get_legend()]
    return {
        one.get_title().get_text(): [text.get_text().strip() for text in one.get_texts()]
        for one in found
    }


def counts_of_points(figure: Any) -> list[int]:
    return [len(drawn.get_offsets()) for drawn in figure.axes[0].collections]


def test_points_are_coloured_by_emotion_and_shaped_by_corpus() -> None:
    figure = projected(GERMAN, ITALIAN)
    assert legends(figure) == {
        "corpus": ["German (34)", "Italian (synthetic) (21)"],
        "emotion": ["anger (29)", "boredom (3)", "sadness (11)", "surprise (12)"],
    }
    axis = figure.axes[0]
    assert axis.get_title() == "German, Italian (synthetic)\nacoustic, PCA, n = 55"
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("one", "two")
    means = 3 + 2
    assert sum(counts_of_points(figure)) == 55 + means


def test_every_point_stands_in_its_place_with_its_colour() -> None:
    figure = projected(GERMAN, ITALIAN, axes=("", ""))
    drawn = {}
    for scatter in figure.axes[0].collections:
        shape = scatter.get_paths()[0].vertices.shape
        for place, colour in zip(scatter.get_offsets(), scatter.get_facecolors(), strict=True):
            drawn[tuple(np.asarray(place))] = (tuple(colour[:3]), shape)
    shapes = set()
    for one in (GERMAN, ITALIAN):
        found = [drawn[tuple(place)] for place in values(one)]
        assert [colour for colour, _ in found] == [to_rgb(EMOTION_COLOURS[e]) for e in one.emotions]
        shapes.add(frozenset(shape for _, shape in found))
    assert [len(shape) for shape in shapes] == [1, 1]
    # neither corpus lies wholly on top
    counts = counts_of_points(figure)
    assert len(counts) == 16
    assert [sum(counts[0::2]), sum(counts[1::2])] == [34, 21]


def test_large_points_are_means_where_axes_mean_something() -> None:
    last = projected(GERMAN, by="corpus").axes[0].collections[-1].get_offsets()
    np.testing.assert_allclose(np.asarray(last), [values(GERMAN).mean(axis=0)])
    figure = projected(GERMAN, axes=("", ""))
    assert not len(figure.axes[0].get_xticks())
    assert sum(counts_of_points(figure)) == 34


def test_a_legend_of_speakers_names_each_and_ends() -> None:
    assert legends(projected(GERMAN, by="speaker")) == {"speaker": ["ann (17)", "ben (17)"]}
    names = legends(projected(GERMAN, ITALIAN, by="speaker"))["speaker"]
    assert (names[0], names[3]) == ("German ann (17)", "Italian (synthetic) ben (11)")
    speakers = ("_a", *(f"s{number:03d}" for number in range(59)))
    crowd = Speech(title="Crowd", emotions=("anger",) * 60, speakers=speakers)
    names = legends(projected(crowd, by="speaker"))["speaker"]
    assert len(names) == 25
    # an underscore hides no name
    assert (names[0], names[-1]) == ("_a (1)", "and 36 more")


def test_distributions_have_a_row_a_measure_and_a_column_a_corpus() -> None:
    corpora = (GERMAN, ITALIAN)
    figure = draw_distributions(corpora, [values(one, 3) for one in corpora], measures="pqr")
    assert len(figure.axes) == 6
    assert [axis.get_ylabel() for axis in figure.axes] == ["p", "", "q", "", "r", ""]
    titles = [axis.get_title() for axis in figure.axes[:2]]
    assert titles == ["German\nn = 34", "Italian (synthetic)\nn = 21"]
    shown = [[label.get_text() for label in axis.get_xticklabels()] for axis in figure.axes[-2:]]
    assert shown == [
        ["anger (20)", "boredom (3)", "sadness (11)", "surprise (0)"],
        ["anger (9)", "boredom (0)", "sadness (0)", "surprise (12)"],
    ]


def test_a_violin_ends_at_the_extremes_and_marks_the_quartiles() -> None:
    axis = violins(np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 20]))
    outline = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (outline.min(), outline.max()) == (0.0, 20.0)
    assert to_rgb(axis.collections[0].get_facecolor()[0, :3]) == to_rgb(EMOTION_COLOURS["fear"])
    assert axis.lines[-1].get_ydata().tolist() == [2.0, 6.0]
    assert axis.collections[-1].get_offsets()[0, 1] == 4.0


@pytest.mark.parametrize("column", [np.arange(7.0), np.full(9, 2.0)])
def test_few_or_equal_values_are_points(column: np.ndarray) -> None:
    axis = violins(column)
    assert axis.collections[0].get_offsets()[:, 1].tolist() == column.tolist()
    assert not axis.lines


def test_a_name_is_one_short_line_without_formulas() -> None:
    assert plain("a\n\tb\x00 c\u202e") == "a b c"
    assert plain("$x$") == r"\$x\$"
    assert plain("ü" * 40) == "ü" * 27 + "…"
    assert speech("synthetic German", {}, synthetic=True).name == "synthetic German"
    assert speech("X" * 40 + " synthetic", {}, synthetic=True).name.endswith("… (synthetic)")


def test_hostile_names_are_drawn_as_text() -> None:
    bad = [
        Speech(title=title, emotions=("anger",) * 9, speakers=(HOSTILE, "_", "") * 3)
        for title in (HOSTILE, "$", "_<script>", r"\$ $")
    ]
    figures = [projected(*bad, by=by, title=HOSTILE) for by in ("emotion", "speaker", "corpus")]
    figures += [draw_distributions(bad, [values(one, 1) for one in bad], measures=["$a$"])]
    for figure in figures:
        written = save(figure, "svg")
        assert b"<script" not in written
        ET.fromstring(written)
        # every text is drawn as it was given: matplotlib finds no formula in any
        for text in figure.findobj(mpl.text.Text):
            assert text._preprocess_math(text.get_text())[1] is False


def test_files_are_the_same_each_time_whatever_the_users_settings_of_matplotlib() -> None:
    kinds = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    files = {kind: save(projected(GERMAN), kind) for kind in kinds}
    assert all(files[kind].startswith(start) for kind, start in kinds.items())
    with mpl.rc_context({"text.usetex": True, "font.size": 30, "savefig.dpi": 40}):
        assert {kind: save(projected(GERMAN), kind) for kind in kinds} == files
        assert mpl.rcParams["font.size"] == 30
    with pytest.raises(SpecError, match="'jpg'"):
        save(projected(GERMAN), "jpg")
    # the picture is as wide as a column, and not blank
    width, _ = struct.unpack(">II", files["png"][16:24])
    assert width == 3.4 * 300
    pixels = np.asarray(Image.open(io.BytesIO(files["png"])).convert("RGB"))
    red = np.abs(pixels - np.array([0xEE, 0x66, 0x77])).sum(axis=-1) < 6
    assert red.sum() > 500  # anger's mean and its entry in the legend
    assert 0.01 < (pixels.min(axis=-1) < 200).mean() < 0.5


SIGHT = {
    "all cones": np.eye(3),
    "no long": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no middle": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
}
"""Machado, Oliveira & Fernandes 2009, severity 1: linear RGB as the colour-blind see it."""


def lab(colour: str, sight: str) -> np.ndarray:
    given = np.array(to_rgb(colour))
    linear = np.where(given <= 0.04045, given / 12.92, ((given + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(SIGHT[sight]) @ linear, 0, 1)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    relative = np.asarray(matrix) @ seen / [0.9505, 1.0, 1.089]
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colour_blind_can_distinguish_the_colours(sight: str) -> None:
    assert tuple(EMOTION_COLOURS) == EMOTIONS
    assert sorted(EMOTION_COLOURS.values()) == sorted(COLOURS)
    seen = np.array([lab(colour, sight) for colour in COLOURS])
    apart = np.linalg.norm(seen[:, None] - seen, axis=-1)[~np.eye(8, dtype=bool)]
    assert apart.min() > 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plot")
    write_corpora(place / "corpora", codes="XY")
    return place


@pytest.fixture
def plot(folder: Path, monkeypatch: pytest.MonkeyPatch, call):
    monkeypatch.setenv("CLSER_CACHE", str(folder / "cache"))
    own = ("--manifest", str(folder / "corpora" / "manifest.csv"), "--workers", "1")
    return lambda *words: call("features", "plot", *words, *own)


def test_the_command_writes_two_figures_and_prints_their_paths(plot) -> None:
    names = ["features-X-Y-emotion.png", "features-X-Y-emotion-distributions.png"]
    assert plot("X", "Y", "X").stdout.split() == names
    assert all(Path(name).read_bytes().startswith(b"\x89PNG") for name in names)
    done = plot("y", "--by", "speaker", "--normalise", "speaker", "--out", "Y.SVG")
    assert done.stdout.split() == ["Y.SVG", "Y-distributions.SVG"]
    assert "<!-- PCA, z-scores by speaker, minimal, n = 12 -->" in Path("Y.SVG").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Q",), "corpus 'Q' is unknown"),
        (("B",), r"missing: EMO-DB \(B\): no folder of corpora was given"),
        (("X", "--out", "x.jpg"), "cannot be a 'jpg'.*Known: pdf, png, svg"),
        (("X", "--out", "a/b.png"), "there is no folder a; make it first"),
        (("X", "--features", "acustic"), "did you mean 'acoustic'"),
        (("X", "--features", "set:heterogeneous"), "set for several languages"),
    ],
)
def test_the_command_for_speech_says_what_is_wrong(plot, words, message) -> None:
    done = plot(*words)
    assert done.exit_code == 2, done.output
    assert re.search(message, done.stderr)
