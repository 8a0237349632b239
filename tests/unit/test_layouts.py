"""Each definition reads the file names that its corpus is published with."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_corpora import write_tone

from clser_bench.corpora.definitions import definitions
from clser_bench.corpora.locate import load_corpora, locate

Fact = tuple[str, str, str]  # emotion, speaker, gender

TREES: dict[str, tuple[str, dict[str, Fact]]] = {
    "AESDD": (
        "aesdd",
        {
            "anger/a03 (3)": ("anger", "3", "male"),
            "fear/f10 (01)": ("fear", "1", "male"),
            "sadness/s05 (2)b": ("sadness", "2", "female"),
        },
    ),
    "ASED": (
        "ASED_V1",
        {
            "05Angry/a5-02-01-01-33": ("anger", "33", ""),
            "01Neutral/n1-07-01-02-65": ("neutral", "65", ""),
        },
    ),
    "BANGLA": (
        "BanglaSER",
        {
            "03-01-01-01-01-01-05": ("happiness", "05", "male"),
            "03-01-05-01-03-02-34": ("neutral", "34", "female"),
        },
    ),
    "CASTRO": (
        "PORTUGUESE",
        {
            "8sA_angry8": ("anger", "A", "female"),
            "62pB_fear8": ("fear", "B", "female"),
        },
    ),
    "CREMAD": (
        "CREMA-D",
        {
            "AudioWAV/1001_DFA_ANG_XX": ("anger", "1001", ""),
            "AudioWAV/1091_IEO_SAD_HI": ("sadness", "1091", ""),
            "AudioWAV/1040_ITH_SAD_X": ("sadness", "1040", ""),
        },
    ),
    "CaFE": (
        "CaFE_48k",
        {
            "Peur/Fort/12-P-2-5": ("fear", "12", "female"),
            "Neutre/01-N-1-4": ("neutral", "01", "male"),
        },
    ),
    "DEMOS": (
        "DEMoS",
        {
            "DEMOS/PR_m_23_tri00a": ("sadness", "23", "male"),
            "NEU/f_61_neu02": ("neutral", "61", "female"),
        },
    ),
    "EMOTA": ("EmoTa", {"01_04_hap": ("happiness", "01", ""), "22_01_ang": ("anger", "22", "")}),
    "EMOVDB": (
        "EmoV-DB",
        {
            "bea_Angry/anger_1-28_0001": ("anger", "bea", "female"),
            "sam/Neutral/neutral_253_280_0255": ("neutral", "sam", "male"),
        },
    ),
    "ESDen": (
        "ESD",
        {
            "0011/Angry/0011_000351": ("anger", "0011", ""),
            "0020/Sad/train/0020_001051": ("sadness", "0020", ""),
        },
    ),
    "ESDzh": (
        "ESD",
        {
            "0001/Angry/0001_000351": ("anger", "0001", ""),
            "0010/Surprise/0010_001401": ("surprise", "0010", ""),
        },
    ),
    "INDOWAVE": (
        "IndoWave",
        {"07-03-02-03": ("surprise", "07", "male"), "10-01-01-01": ("neutral", "10", "female")},
    ),
    "JL": (
        "jl-corpus",
        {
            "JL(wav+txt)/male1_angry_1a_1": ("anger", "male1", "male"),
            "JL(wav+txt)/female2_happy_6b_2": ("happiness", "female2", "female"),
        },
    ),
    "JTES": (
        "jtes_v1.1",
        {
            "wav/f01/ang/f01_ang_01": ("anger", "f01", "female"),
            "wav/m50/joy/m50_joy_50": ("happiness", "m50", "male"),
        },
    ),
    "JVNV": (
        "jvnv_ver1",
        {
            "F1/anger/free/F1_anger_free_01": ("anger", "F1", "female"),
            "M2/happy/regular/M2_happy_regular_10": ("happiness", "M2", "male"),
        },
    ),
    "MESD": (
        "MESD",
        {
            "Anger_F_A_tarde": ("anger", "F", "female"),
            "Fear_C_B_ansiedad": ("fear", "C", ""),
        },
    ),
    "MESS": (
        "MESS",
        {"AF1M12_SCR": ("anger", "F1", "female"), "HM2V08_SCR": ("happiness", "M2", "male")},
    ),
    "OREAU": (
        "OréauFR_02",
        {
            "f/sessj/10a02Ja": ("happiness", "10", "female"),
            "m/sesss/07z03Sa": ("surprise", "07", "male"),
        },
    ),
    "POLISH": (
        "POLISH",
        {"m3.s_trzymaj_5": ("fear", "m3", "male"), "m2.n_tak_3": ("neutral", "m2", "male")},
    ),
    "SAVEE": (
        "SAVEE",
        {
            "AudioData/DC/a01": ("anger", "DC", "male"),
            "AudioData/JK/sa15": ("sadness", "JK", "male"),
        },
    ),
    "SUBESCO": (
        "SUBESCO",
        {
            "F_10_FAHMEE_S_6_FEAR_5": ("fear", "F_10", "female"),
            "M_09_SHUMANTA_S_2_ANGRY_4": ("anger", "M_09", "male"),
            "F_02_MONIKA_S_2_SURPRISE_3]": ("surprise", "F_02", "female"),
        },
    ),
    "ShEMO": (
        "shemo",
        {
            "female/F24S07": ("sadness", "F24", "female"),
            "male/M36W02": ("surprise", "M36", "male"),
        },
    ),
    "TESS": (
        "TESS",
        {
            "OAF_angry/OAF_back_angry": ("anger", "O", "female"),
            "OAF_neutral/OA_bite_neutral": ("neutral", "O", "female"),
            "YAF_pleasant_surprised/YAF_shall_ps": ("surprise", "Y", "female"),
        },
    ),
    "UERJ": (
        "emoUERJ",
        {"m01h01": ("happiness", "m01", "male"), "w04s12": ("sadness", "w04", "female")},
    ),
}

TABLES = {
    "EMOZ": (
        "metadata/samples.csv",
        "file_name,sentence,actor,emotion_expressed\n1.wav,ciao,ann,joy\n2.wav,ciao,ben,fear\n",
        {"audio/1.wav": ("happiness", "ann", ""), "audio/2.wav": ("fear", "ben", "")},
    ),
    "PODCAST": (
        "Labels/labels_consensus.csv",
        """FileName,EmoClass,EmoAct,SpkrID,Gender,Split_Set
A_1.wav,A,5,97,Female,Train
A_2.wav,U,5,12,Male,Test1
A_3.wav,X,5,12,Male,Test1
""",
        {"Audios/A_1.wav": ("anger", "97", "female"), "Audios/A_2.wav": ("surprise", "12", "male")},
    ),
}


def unverified() -> list[str]:
    return [code for code, spec in definitions().corpora.items() if not spec.verified]


def test_every_definition_that_was_not_checked_is_tried_here() -> None:
    assert set(TREES) | set(TABLES) == set(unverified())
    assert len(unverified()) >= 20


@pytest.mark.parametrize("code", TREES)
def test_made_trees(code: str, tmp_path: Path) -> None:
    folder, files = TREES[code]
    for name in files:
        write_tone(tmp_path / folder / f"{name}.wav")
    located = locate(tmp_path)
    assert list(located.listings) == [code]
    assert located.findings == ()
    corpus = load_corpora(codes=[code], located=located)[code]
    facts = {item.name: (item.emotion, item.speaker, item.gender) for item in corpus.utterances}
    offset = len(f"{folder}/") if corpus.root == tmp_path else 0
    inner = corpus.root.relative_to(tmp_path / folder).as_posix() if not offset else ""
    prefix = "" if inner in ("", ".") else f"{inner}/"
    assert {f"{prefix}{name[offset:]}": fact for name, fact in facts.items()} == {
        f"{name}.wav": fact for name, fact in files.items()
    }


@pytest.mark.parametrize("code", TABLES)
def test_made_tables(code: str, tmp_path: Path) -> None:
    table, text, files = TABLES[code]
    place = tmp_path / "some" / "folder"
    (place / table).parent.mkdir(parents=True)
    (place / table).write_text(text)
    for name in files:
        write_tone(place / name)
    corpus = load_corpora(tmp_path)[code]
    facts = {item.name: (item.emotion, item.speaker, item.gender) for item in corpus.utterances}
    assert facts == files
    left_out = sum(count for _, count in corpus.left_out)
    assert left_out == text.count("\n") - 1 - len(files)


def test_both_halves_of_esd(tmp_path: Path) -> None:
    for speaker in ("0001", "0011"):
        for number in range(3):
            write_tone(tmp_path / "x" / speaker / "Angry" / f"{speaker}_00000{number}.wav")
    corpora = load_corpora(tmp_path)
    assert {code: len(corpus.utterances) for code, corpus in corpora.items()} == {
        "ESDen": 3,
        "ESDzh": 3,
    }
    assert corpora["ESDzh"].left_out == (("the other language of ESD", 3),)


def test_a_ravdess_without_folders_is_no_other_corpus(tmp_path: Path) -> None:
    write_tone(tmp_path / "RAVDESS" / "03-01-05-01-01-01-01.wav")
    assert not locate(tmp_path).listings
