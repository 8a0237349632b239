"""Facts about utterances: the table of recognition rates, levels, and where they come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_corpora import read_corpus, toy_spec, write_toy

from clser_bench.corpora import figures
from clser_bench.corpora.figures import level, recognition_rates, utterance_metadata
from clser_bench.corpora.model import Corpus
from clser_bench.errors import AudioError, CorpusError

HEADER = "Nr.\tSatz\terkannt\tnatuerlich\n"
SPACE = "\xa0"


def table(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("latin-1"))
    return path


def toy(tmp_path: Path, name: str = "emodb") -> Corpus:
    root = write_toy(tmp_path / "toy")
    spec = toy_spec("B", name=name, genders={"ada": "female"})
    return read_corpus(spec, root, cache=tmp_path / "cache", workers=1)


def test_rates_with_commas_and_no_break_spaces(tmp_path: Path) -> None:
    lines = f"1{SPACE}\t03a01Ab.wav\t65,00{SPACE * 4}\t35,00\n2\t08a01Na.wav\t85,71\t\n\n"
    path = table(tmp_path / "erkennung.txt", HEADER + lines + "3\t16b10Wb.wav\t100\t75")
    assert recognition_rates(path) == {"03a01Ab": 65.0, "08a01Na": 85.71, "16b10Wb": 100.0}


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    text = "erkannt\tnatürlich\tSatz\r\n80,00\t90,00\ta.wav\r\n"
    assert recognition_rates(table(tmp_path / "t.txt", text)) == {"a": 80.0}


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("", "line 1", "'Satz' and 'erkannt' are expected"),
        ("Nr.;Satz;erkannt\n", "line 1", "got 'Nr.;Satz;erkannt'"),
        (HEADER + "1\ta.wav\tviel\t1\n", "line 2", "'viel': a percentage from 0 to 100"),
        (HEADER + "\n1\ta.wav\t100,01\t1\n", "line 3", "'100,01'"),
        (HEADER + "1\ta.wav\t-5,00\t1\n", "line 2", "'-5,00'"),
        (HEADER + "1\ta.wav\tnan\t1\n", "line 2", "'nan'"),
        (HEADER + "1\ta.wav\t1e2\t1\n", "line 2", "'1e2'"),
        (HEADER + "1\ta.wav\t\t1\n", "line 2", "''"),
        (HEADER + "1\ta.wav\n", "line 2", "a file and its rate are expected"),
        (HEADER + "1\t\t50,00\n", "line 2", "a file and its rate are expected"),
        (
            HEADER + "1\ta.wav\t50,00\n2\ta.wav\t60,00\n",
            "line 3",
            "60 %, and 50 % in a line before",
        ),
        (HEADER + "1\ta.wav\t\x1b[2J" + "9" * 500 + "\n", "line 2", r"'\x1b[2J9999"),
    ],
)
def test_a_damaged_table_names_its_line(tmp_path: Path, text: str, line: str, told: str) -> None:
    path = table(tmp_path / "erkennung.txt", text)
    with pytest.raises(CorpusError) as caught:
        recognition_rates(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {line}: ")
    assert told in message
    assert len(message) < len(str(path)) + 250
    assert message.isprintable()


def test_a_table_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot be read"):
        recognition_rates(tmp_path / "absent.txt")
    with pytest.raises(CorpusError, match="at most 1048576 are read"):
        recognition_rates(table(tmp_path / "huge.txt", HEADER + " " * (1 << 20)))


def test_level_by_hand() -> None:
    assert level(1.0) == 0.0
    assert level(0.1) == pytest.approx(-20.0)
    assert level(0.5 / 2**0.5) == pytest.approx(-9.0309, abs=1e-4)  # a sine of half the scale
    assert level(0.0) is None


def test_facts_in_the_corpus_s_order(tmp_path: Path) -> None:
    corpus = toy(tmp_path)
    rates = HEADER + "1\tanger_0.wav\t95,00\t1\n2\tboredom_1.wav\t80,00\t1\n"
    table(corpus.root / "erkennung.txt", rates)
    facts = utterance_metadata(corpus, cache=tmp_path / "cache")
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


def test_the_table_may_lie_beside_the_folder_of_recordings(tmp_path: Path) -> None:
    write_toy(tmp_path / "download" / "wav")
    table(tmp_path / "download" / "erkennung.txt", HEADER + "1\tanger_0.wav\t95,00\t1\n")
    root = tmp_path / "download" / "wav"
    corpus = read_corpus(toy_spec("B", name="emodb"), root, cache=tmp_path / "cache", workers=1)
    assert any(fact.human == 95 for fact in utterance_metadata(corpus, cache=tmp_path / "cache"))


def test_only_corpora_that_come_with_a_table_have_rates(tmp_path: Path) -> None:
    corpus = toy(tmp_path, name="other")
    table(corpus.root / "erkennung.txt", "no table at all")
    assert {fact.human for fact in utterance_metadata(corpus, cache=tmp_path / "cache")} == {None}


def test_nothing_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = toy(tmp_path)

    def refuse(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(figures, "_sound", refuse)
    assert len(utterance_metadata(corpus, cache=tmp_path / "cache")) == len(corpus.utterances)


def test_a_file_that_broke_meanwhile(tmp_path: Path) -> None:
    corpus = toy(tmp_path)
    corpus.utterances[0].path.write_bytes(b"")
    with pytest.raises(AudioError, match="is empty"):
        utterance_metadata(corpus, cache=tmp_path / "cache", workers=1)


@pytest.mark.real_speech
def test_every_file_of_emodb_has_a_rate(read_real, real_cache: Path) -> None:
    facts = utterance_metadata(read_real("B"), cache=real_cache)
    rates = {Path(fact.name).stem: fact.human for fact in facts}
    assert len(rates) == 535
    # the released part was chosen so; the table also has what was left out, such as 03a01Ab (65 %)
    assert min(rates.values()) == 80
    assert (rates["03a01Wa"], rates["03a01Fa"], rates["03a01Nc"]) == (95, 90, 100)
    assert {fact.gender for fact in facts} == {"female", "male"}
