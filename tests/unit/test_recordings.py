"""Recordings in figures: the index is right and no obstacle; checks and facts of corpora."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from clser_bench.corpora import figures as module
from clser_bench.corpora.figures import (
    Sound,
    check,
    figures,
    level,
    measure,
    recognition_rates,
    utterance_metadata,
)
from clser_bench.corpora.model import Corpus, Utterance
from clser_bench.errors import AudioError, CorpusError
from tests.fake_corpora import read_corpus, toy_spec, write_tone, write_toy
from tests.signals import Events

SPEC = toy_spec("X", counts={"anger": 4, "boredom": 5, "fear": 1}, speakers=3)
HEADER = "Nr.\tSatz\terkannt\tnatuerlich\n"
SPACE = "\xa0"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_tone(tmp_path / "x" / name) for name in ("b.wav", "a.wav")]


def run(files: list[Path], tmp_path: Path, *, recall: bool = True) -> tuple[Any, list[object]]:
    progress = Events()
    items = [Utterance(name=path.name, path=path, emotion="", speaker="") for path in files]
    how: dict[str, Any] = {"what": "reading", "recall": recall, "workers": 2}
    made = measure(items, tmp_path / "x", cache=tmp_path / "cache", progress=progress, **how)
    return made, progress.events


def index_of(tmp_path: Path) -> Path:
    [index] = (tmp_path / "cache" / "audio").iterdir()
    return index


def test_figures_and_levels_by_hand():
    first, second = np.array([0, 1], np.float32), np.array([-1, 0], np.float32)
    sound = figures([(2, first), (2, second)])
    assert (sound.seconds, sound.rate, sound.peak, sound.clipped) == (2.0, 2, 1.0, 0.5)
    assert sound.rms == pytest.approx(0.5**0.5)
    assert sound == figures([(2, np.concatenate([first, second]))])
    assert (level(1.0), level(0.0)) == (0.0, None)
    assert level(0.1) == pytest.approx(-20.0)
    assert level(0.5 / 2**0.5) == pytest.approx(-9.0309, abs=1e-4)  # a sine of half the scale


def test_second_time_decodes_nothing(files, tmp_path):
    first, events = run(files, tmp_path)
    assert list(first[0]) == ["b.wav", "a.wav"]
    assert events == [("reading", 2), 1, 1, "stop"]
    assert run(files, tmp_path) == (first, [])
    assert run(files, tmp_path, recall=False) == (first, events)


def test_a_segment_is_not_its_file(files, tmp_path):
    parts = [
        Utterance(
            name=f"{start}-{end}", path=files[0], emotion="", speaker="", start=start, end=end
        )
        for start, end in ((0.0, None), (0.05, None), (0.05, 0.1), (0.0, 0.15))
    ]
    for _ in range(2):
        sounds = measure(parts, tmp_path, cache=tmp_path / "cache", what="")[0].values()
        lengths = [sound.seconds for sound in sounds if isinstance(sound, Sound)]
        assert lengths == [0.15, pytest.approx(0.1), 0.05, 0.15]
        contents = [sound.content for sound in sounds if isinstance(sound, Sound)]
        assert contents[0] == contents[3]
        assert len(set(contents)) == 3


def test_changed_and_exchanged_files_are_decoded_again(files, tmp_path):
    for path in files:
        os.utime(path, (1e9, 1e9))
    first, _ = run(files, tmp_path)
    samples, rate = soundfile.read(files[1])
    soundfile.write(files[1], -samples, rate)
    os.utime(files[1], (1e9, 1e9))  # same size, same time
    second, events = run(files, tmp_path)
    assert events[0] == ("reading", 1)
    assert second[0]["a.wav"] != first[0]["a.wav"]
    assert second[0]["b.wav"] == first[0]["b.wav"]
    files[0].rename(tmp_path / "aside")
    files[1].rename(files[0])
    (tmp_path / "aside").rename(files[1])
    third, _ = run(files, tmp_path)
    assert third[0]["a.wav"] == second[0]["b.wav"] != second[0]["a.wav"]


@pytest.mark.parametrize("place", [0.0, 0.02, 0.2, 0.5, 0.9, 0.999])
def test_an_index_with_a_flipped_bit_is_written_again(files, tmp_path, place):
    first, _ = run(files, tmp_path)
    index = index_of(tmp_path)
    whole = bytearray(index.read_bytes())
    whole[int(place * len(whole))] ^= 4
    index.write_bytes(whole)
    second, events = run(files, tmp_path)
    assert second[0] == first[0]
    assert events[0] == ("reading", 2)
    if place > 0:
        assert "is damaged; its recordings are decoded again" in second[1][0]
    assert run(files, tmp_path) == (first, [])
    assert index_of(tmp_path) == index


def test_an_index_of_another_format_is_none_and_others_may_read_it(files, tmp_path):
    before = os.umask(0o027)
    try:
        first, _ = run(files, tmp_path)
    finally:
        os.umask(before)
    index = index_of(tmp_path)
    assert stat.S_IMODE(index.stat().st_mode) == 0o640
    for text in ('{"format": 1, "files": {}}', "clser-bench audio index 2 0f1e\n{}"):
        index.write_text(text)
        assert run(files, tmp_path)[0] == first


def test_an_index_that_cannot_be_written_is_said(files, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "audio").write_text("a file where a folder is wanted")
    for _ in range(2):
        made, _ = run(files, tmp_path)
        assert isinstance(made[0]["a.wav"], Sound)
        assert "recordings are decoded again by every command" in made[1][-1]


def test_broken_files_are_tried_again(files, tmp_path):
    gone = tmp_path / "x" / "gone.wav"
    for _ in range(2):
        made, _ = run([*files, gone], tmp_path)
        assert isinstance(made[0]["gone.wav"], AudioError)
        assert isinstance(made[0]["a.wav"], Sound)
    write_tone(gone)
    assert isinstance(run([*files, gone], tmp_path)[0][0]["gone.wav"], Sound)


def test_everything_at_once(tmp_path):
    root = write_toy(tmp_path / "toy")
    write_tone(root / "bob" / "fear_0.wav", rate=16000, seconds=0.5)
    shutil.copy(root / "ada" / "anger_0.wav", root / "bob" / "anger_7.wav")
    quiet = np.full(800, 9e-4)
    soundfile.write(root / "ada" / "boredom_8.wav", quiet, 8000, subtype="FLOAT")
    loud = np.where(np.arange(800) < 2, 1.0, 0.1)
    soundfile.write(root / "ada" / "boredom_9.wav", loud, 8000)
    corpus = read_corpus(SPEC, root)
    found = check(corpus)
    assert found.emotions == (("anger", 4), ("boredom", 6), ("disgust", 4), ("fear", 1))
    assert found.speakers == (("ada", 8), ("bob", 7))
    assert ("ada", "fear", 0) in found.cells
    assert ("bob", "fear", 1) in found.cells
    assert found.rates == ((8000, 14), (16000, 1))
    assert found.silent == ("ada/boredom_8.wav",)
    assert found.clipped == ("ada/boredom_9.wav",)
    assert (found.shortest, found.longest) == (0.1, 0.5)
    assert found.seconds == pytest.approx(12 * 0.15 + 0.5 + 2 * 0.1)
    copies, silent, differs = corpus.findings
    assert silent.files == ("ada/boredom_8.wav",), "one value all along"
    assert copies.files == ("bob/anger_7.wav", "ada/anger_0.wav")
    assert "1 of them are listed under two speakers" in copies.sentence
    assert differs.sentence == (
        "Toy X (X) differs from its definition: anger has 5 of 4 utterances, "
        "boredom has 6 of 5 utterances, 2 of 3 speakers are there"
    )


REAL = {
    "N": "surprise has 64 of 669 utterances",
    "R": "Actor_07/03-01-03-01-02-02-07.flac = Actor_07/03-01-03-01-02-01-07.flac",
}


@pytest.mark.real_speech
@pytest.mark.parametrize("code", "BCNORTU")
def test_real_corpora_are_as_defined_but_for_known_faults(read_real, real_cache, code):
    corpus = read_real(code)
    assert corpus.skipped == ()
    assert len(corpus.findings) == (code in REAL)
    for finding in corpus.findings:
        assert REAL[code] in finding.sentence.replace(".wav", ".flac")
    found = check(corpus, cache=real_cache)
    empty = [(speaker, emotion) for speaker, emotion, count in found.cells if not count]
    if code == "R":
        assert len(found.silent) == 13 - 6  # of the 13 very quiet ones, 6 are calm and left out
        assert {name.split("/")[0] for name in found.silent} == {"Actor_09", "Actor_20"}
        assert dict(corpus.left_out).popitem()[1] == 192
    else:
        assert found.rates == ((16000, len(corpus.utterances)),)
        expected = {"U": 116 - 33, "N": 1, "B": 1, "T": 2}  # most speakers of U have one emotion
        assert len(empty) == expected.get(code, 0)
        named = {"B": [("08", "disgust")], "N": [("MK0", "surprise")]}
        assert empty == named.get(code, empty)


def table(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def test_rates_by_columns_name_with_commas_and_no_break_spaces(tmp_path):
    lines = f"1{SPACE}\t03a01Ab.wav\t65,00{SPACE * 4}\t35,00\n2\t08a01Na.wav\t85,71\t\n\n"
    path = table(tmp_path / "erkennung.txt", HEADER + lines + "3\t16b10Wb.wav\t100\t75")
    assert recognition_rates(path) == {"03a01Ab": 65.0, "08a01Na": 85.71, "16b10Wb": 100.0}
    text = "erkannt\tnatürlich\tSatz\r\n80,00\t90,00\ta.wav\r\n"
    assert recognition_rates(table(tmp_path / "t.txt", text)) == {"a": 80.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: columns 'Satz' and 'erkannt' are expected"),
        ("Nr.;Satz;erkannt\n", r"line 1: .*got 'Nr\.;Satz;erkannt'"),
        (HEADER + "1\ta.wav\tviel\t1\n", "line 2: .*'viel': a percentage from 0 to 100"),
        (HEADER + "\n1\ta.wav\t100,01\t1\n", "line 3: .*'100,01'"),
        (HEADER + "1\ta.wav\t-5,00\t1\n", "line 2: .*'-5,00'"),
        (HEADER + "1\ta.wav\tnan\t1\n", "line 2: .*'nan'"),
        (HEADER + "1\ta.wav\t\t1\n", "line 2: .*''"),
        (HEADER + "1\ta.wav\n", "line 2: a file and its rate are expected"),
        (HEADER + "1\t\t50,00\n", "line 2: a file and its rate are expected"),
        (HEADER + "1\ta\t50,00\n2\ta\t60,00\n", "line 3: .*60 %, and 50 % in a line before"),
        (HEADER + "1\ta.wav\t\x1b[2J" + "9" * 500 + "\n", r"line 2: .*'\\x1b\[2J9999"),
        (HEADER + " " * (1 << 20), ".* at most 1048576 are read"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_table_names_its_line(tmp_path, text, message):
    path = tmp_path / "erkennung.txt"
    if text is not None:
        table(path, text)
    with pytest.raises(CorpusError, match=f"^{path}: {message}") as caught:
        recognition_rates(path)
    assert len(str(caught.value)) < len(str(path)) + 250
    assert str(caught.value).isprintable()


def metadata(corpus: Corpus, tmp_path: Path) -> tuple[module.Metadata, ...]:
    return utterance_metadata(corpus, cache=tmp_path / "cache", workers=1)


def toy(tmp_path: Path, name: str = "emodb") -> Corpus:
    root = write_toy(tmp_path / "toy" / "wav")
    spec = toy_spec("B", name=name, genders={"ada": "female"})
    return read_corpus(spec, root, cache=tmp_path / "cache", workers=1)


def test_facts_in_the_corpus_s_order(tmp_path, monkeypatch):
    corpus = toy(tmp_path)
    rates = HEADER + "1\tanger_0.wav\t95,00\t1\n2\tboredom_1.wav\t80,00\t1\n"
    table(corpus.root / "erkennung.txt", rates)
    monkeypatch.setattr(module, "_sound", pytest.fail)  # nothing is decoded again
    facts = metadata(corpus, tmp_path)
    assert [fact.name for fact in facts] == [item.name for item in corpus.utterances]
    for fact in facts:
        samples, rate = soundfile.read(corpus.root / fact.name)
        assert fact.seconds == len(samples) / rate
        assert fact.level == pytest.approx(10 * np.log10(np.mean(samples**2)), abs=1e-3)
        assert fact.gender == ("female" if fact.name.startswith("ada/") else "")
    human = {fact.name: fact.human for fact in facts if fact.human is not None}
    assert human == {
        f"{speaker}/{name}.wav": rate
        for speaker in ("ada", "bob")
        for name, rate in (("anger_0", 95.0), ("boredom_1", 80.0))
    }


def test_the_table_may_lie_beside_the_folder_and_other_corpora_have_none(tmp_path):
    table(toy(tmp_path).root.parent / "erkennung.txt", HEADER + "1\tanger_0.wav\t95,00\t1\n")
    assert {fact.human for fact in metadata(toy(tmp_path), tmp_path)} == {None, 95.0}
    other = toy(tmp_path, name="other")
    table(other.root / "erkennung.txt", "no table at all")
    assert {fact.human for fact in metadata(other, tmp_path)} == {None}


def test_a_file_that_broke_meanwhile(tmp_path):
    corpus = toy(tmp_path)
    corpus.utterances[0].path.write_bytes(b"")
    with pytest.raises(AudioError, match="is empty"):
        metadata(corpus, tmp_path)


@pytest.mark.real_speech
def test_every_file_of_emodb_has_a_rate(read_real, real_cache):
    facts = utterance_metadata(read_real("B"), cache=real_cache)
    rates = {Path(fact.name).stem: fact.human for fact in facts if fact.human is not None}
    assert len(rates) == len(facts) == 535
    # the released part was chosen so; the table also has what was left out, such as 03a01Ab (65 %)
    assert min(rates.values()) == 80
    assert (rates["03a01Wa"], rates["03a01Fa"], rates["03a01Nc"]) == (95, 90, 100)
    assert {fact.gender for fact in facts} == {"female", "male"}
