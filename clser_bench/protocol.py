"""Declarative definitions: emotions, corpora, pairs, suites, conditions.

Nothing here reads a file or touches an array.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clser_bench.errors import SpecError, did_you_mean, printable

PROTOCOL_VERSION = 2
"""Raised when a rule of docs/protocol.md changes a number."""

EMOTIONS = (
    "anger",
    "boredom",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)
"""Every emotion the benchmark knows, in the order in which classes stand everywhere."""

DEFAULT_FEATURES = "minimal"
"""The built-in feature set that the suite `dev` prefers."""

FIXED_FOUR = ("anger", "fear", "happiness", "sadness")
"""The classes of `Condition.classes` "fixed4"."""

CLEAN = "clean"
"""The text of a target that is not corrupted."""

Shots = int | Literal["all"]
Normalisation = Literal["corpus", "speaker", "source", "none", "estimated-speakers"]
Setting = Literal["transductive", "inductive", "held-out"]
SETTINGS = ("transductive", "inductive")
"""Those that a user asks for; criteria are computed in the setting `held-out`."""
Classes = Literal["shared", "fixed4"]
Gender = Literal["female", "male", "other", ""]

PARTS = ("female", "male", "first", "second", "a", "b")
"""Parts of a corpus, written behind its code as `B.female` or `B.first.a`: speakers of a gender, a
half of the speakers (of each gender as evenly as it goes), a half of the sentences."""

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
_CODE_OF_PART = re.compile(rf"{_CODE.pattern}(\.({'|'.join(PARTS)}))*")


class _Definition(BaseModel):
    """A frozen TOML-facing definition that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusSpec(_Definition):
    """What a corpus is and how its files lie on disk.

    Attributes:
        code: its short code, `B` for EMO-DB.
        name: its name in file names and tables, `emodb`.
        title: its name in prose.
        language: BCP 47 tag, `de`.
        licence: licence note, shown by `list corpora`.
        citation: how to cite it.
        synthetic: made by a speech synthesiser; marked wherever it is shown.
        verified: the definition was checked against the real corpus, file by file; else it rests
            on descriptions of it.
        folders: names under which the folder is usually kept (hints for the search).
        in_folder: recognised only in a folder of one of these names, or below it: the pattern
            alone would match other corpora.
        pattern: regular expression matched in full against the POSIX path relative to the
            corpus folder, extension left out; named groups `emotion` and `speaker`, optionally
            `text`, `gender` (a word that begins with f or m) and `emotion_again` (a second label
            in the same path, which must mean the same emotion). A file that ends in `.wav` or
            `.flac` and does not match is an error.
        table: a CSV table of the labels, relative to the corpus folder, for corpora whose file
            names do not hold them; in place of `pattern`.
        columns: of that table: `path`, `speaker`, `emotion`, and optionally `gender` and `text`,
            each with the name that the corpus gives it.
        recordings: where the paths of the table lie, relative to the corpus folder; `{path}`
            stands for the cell, as in `Audios/{path}`.
        labels: the corpus's own label to one of `EMOTIONS`.
        excluded: the corpus's own labels that are left out on purpose, each with the reason.
        ignored: regular expressions of relative paths (extension included) left out on
            purpose, each with the reason.
        genders: speaker to gender.
        counts: expected number of utterances per emotion; empty where unknown.
        speakers: expected number of speakers; 0 where unknown.
    """

    code: str
    name: str
    title: str
    language: str
    licence: str
    citation: str
    synthetic: bool = False
    verified: bool = True
    folders: tuple[str, ...] = ()
    in_folder: bool = False
    pattern: str = ""
    table: str = ""
    columns: dict[str, str] = Field(default_factory=dict)
    recordings: str = "{path}"
    labels: dict[str, str] = Field(default_factory=dict)
    excluded: dict[str, str] = Field(default_factory=dict)
    ignored: dict[str, str] = Field(default_factory=dict)
    genders: dict[str, Gender] = Field(default_factory=dict)
    counts: dict[str, int] = Field(default_factory=dict)
    speakers: int = 0

    @field_validator("code")
    @classmethod
    def _code_is_short(cls, code: str) -> str:
        if not _CODE.fullmatch(code):
            raise ValueError(f"code {code!r} must match {_CODE.pattern}")
        return code

    @model_validator(mode="after")
    def _emotions_are_known(self) -> Self:
        for emotion in (*self.labels.values(), *self.counts):
            if emotion not in EMOTIONS:
                raise ValueError(f"unknown emotion '{emotion}'{did_you_mean(emotion, EMOTIONS)}")
        return self

    @property
    def emotions(self) -> tuple[str, ...]:
        """The emotions this corpus has, in the order of `EMOTIONS`."""
        return tuple(emotion for emotion in EMOTIONS if emotion in set(self.labels.values()))


@dataclass(frozen=True, order=True)
class Pair:
    """An ordered pair of corpus codes, written `B→C`."""

    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source}→{self.target}"

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read `B→C`, `B->C` or `B:C`.

        Raises:
            SpecError: the text is none of these, or both codes are the same.
        """
        parts = re.split(r"→|->|:", text.strip())
        if len(parts) != 2 or not all(_CODE_OF_PART.fullmatch(part) for part in parts):
            raise SpecError(f"pair {text!r}: write SOURCE->TARGET with corpus codes, such as B->C")
        if parts[0] == parts[1]:
            raise SpecError(f"pair {text!r}: source and target must differ")
        return cls(parts[0], parts[1])


def base_code(code: str) -> str:
    """The code of the corpus that a part is of; of a whole corpus its own."""
    return code.partition(".")[0]


class Suite(_Definition):
    """A named set of ordered pairs of corpora.

    Attributes:
        name: `bcro`.
        corpora: corpus codes or parts of corpora (`PARTS`), in the order of the table; empty for
            all that are at hand.
        use: what the suite is for.
        kind: `cross-lingual`, pairs of different languages; or `same-language`, a control: pairs
            of corpora of one language; two parts of a corpus are a pair where they have no speaker
            in common.
        targets: the corpora that are targets; empty for all.
        sources: the corpora that are sources; empty for all.
        not_under: normalisation to the corpora that drop out of the suite under it.
    """

    name: str
    corpora: tuple[str, ...]
    use: str
    kind: Literal["cross-lingual", "same-language"] = "cross-lingual"
    targets: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    not_under: dict[Normalisation, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sides_are_corpora(self) -> Self:
        for code in self.corpora:
            if not _CODE_OF_PART.fullmatch(code):
                raise ValueError(f"{code!r} of suite {self.name}: parts are {', '.join(PARTS)}")
        for side, codes in (("target", self.targets), ("source", self.sources)):
            for code in set(codes) - set(self.corpora):
                raise ValueError(f"{side} {code!r} is not among the corpora of suite {self.name}")
        return self

    def pairs(self, normalisation: Normalisation = "corpus") -> tuple[Pair, ...]:
        """All ordered pairs from one of `sources` to one of `targets`, source by source.

        Args:
            normalisation: corpora listed in `not_under` for it are left out.
        """
        out = self.not_under.get(normalisation, ())
        codes = [code for code in self.corpora if code not in out]
        sources, targets = (
            [code for code in codes if not wanted or code in wanted]
            for wanted in (self.sources, self.targets)
        )
        return tuple(Pair(s, t) for s in sources for t in targets if s != t)


def classes_of(
    source: CorpusSpec, target: CorpusSpec, *, classes: Classes = "shared"
) -> tuple[str, ...]:
    """The classes of a pair, the same both ways.

    Args:
        source: one corpus.
        target: the other.
        classes: as in `Condition`.

    Returns:
        Emotions in the order of `EMOTIONS`.

    Raises:
        SpecError: fewer than two are left.
    """
    shared = [emotion for emotion in source.emotions if emotion in target.emotions]
    found = tuple(e for e in shared if classes == "shared" or e in FIXED_FOUR)
    if len(found) < 2:
        raise SpecError(
            f"{source.code} and {target.code} share {len(found)} emotion(s) {list(found)}; "
            "a pair needs at least two"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The rules that all rows of one table share (docs/protocol.md).

    A new rule is one field here and one entry of `clser_bench.cli.rules.RULES`.

    Attributes:
        suite: name of the suite; empty where it is not chosen yet.
        features: feature set, or the sets of the languages; nothing else is part of the name.
        alignment: how sets that differ by language are aligned; empty where all corpora share one.
        corruption: of the target, `noise:10`; empty for clean speech.
        normalisation: whose statistics the z-scores use.
        setting: `transductive`, or `inductive` (half of the target's speakers adapt, the other
            half is scored, and the other way round), or `held-out` (a fifth of the source's
            labels is scored instead: for model selection, never in a table).
        prior: `natural`, or `dirichlet:A` (the target is resampled to an imbalanced one).
        classes: `shared` (the emotions that both corpora have) or `fixed4` (of those only anger,
            fear, happiness, sadness).
        unlabelled: codes of added corpora, whose speech is used without labels; sorted.
        selection: how hyper-parameters were chosen; `default` for the defaults of the methods.
        shots: labelled utterances of each class.
        protocol_version: of the rules of docs/protocol.md.
    """

    suite: str = ""
    features: str = DEFAULT_FEATURES
    alignment: str = ""
    corruption: str = ""
    normalisation: Normalisation = "corpus"
    setting: Setting = "transductive"
    prior: str = "natural"
    classes: Classes = "shared"
    unlabelled: tuple[str, ...] = ()
    selection: str = "default"
    shots: Shots = 5
    protocol_version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[str, ...]] = {
            "normalisation": get_args(Normalisation),
            "setting": get_args(Setting),
            "classes": get_args(Classes),
        }
        for field, names in allowed.items():
            value = getattr(self, field)
            if value not in names:
                known = SETTINGS if field == "setting" else names
                raise SpecError(f"{field} '{value}' is unknown{did_you_mean(value, known)}")
        for code in self.unlabelled:
            if not _CODE.fullmatch(code):
                raise SpecError(f"unlabelled '{code}' is no corpus code; write N,T")
        object.__setattr__(self, "unlabelled", tuple(sorted(set(self.unlabelled))))
        self.concentration()

    @property
    def title(self) -> str:
        """Suite, shots and setting, as in the heading of a table."""
        suite = self.suite if self.classes == "shared" else f"{self.suite}:{self.classes}"
        shots = "1 shot" if self.shots == 1 else f"{self.shots} shots"
        return f"{suite}, {shots}, {self.setting}"

    @property
    def features_label(self) -> str:
        """Features, alignment and corruption in one text, which enters the ids of trials."""
        aligned = f", aligned by {self.alignment}" if self.alignment else ""
        target = f", target {self.corruption}" if self.corruption else ""
        return f"{self.features}{aligned}{target}"

    def order(self) -> tuple[Any, ...]:
        """Sort key of tables: suite, classes, then field by field; shots by number, `all` last."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["shots"] = 1 << 62 if self.shots == "all" else self.shots
        first = values.pop("suite"), values.pop("classes") != "shared"
        return (*first, *values.values())

    def replace(self, **changes: Any) -> Condition:
        """The same condition with some fields changed."""
        return dataclasses.replace(self, **changes)

    def texts(self) -> dict[str, str]:
        """Every field as text, by its name: codes joined by `+`, clean speech as `clean`."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {"unlabelled": "+".join(self.unlabelled), "corruption": self.corruption or CLEAN}
        return {name: str(value) for name, value in values.items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Condition:
        """The condition that `texts` wrote; fields that are left out have their defaults.

        Raises:
            SpecError: a value is not allowed.
        """
        values: dict[str, Any] = dict(texts)
        if "unlabelled" in values:
            values["unlabelled"] = tuple(filter(None, values["unlabelled"].split("+")))
        if values.get("corruption") == CLEAN:
            values["corruption"] = ""
        if "shots" in values:
            values["shots"] = parse_shots(values["shots"])
        if "protocol_version" in values:
            if not re.fullmatch("[0-9]{1,9}", values["protocol_version"]):
                raise SpecError(f"protocol version {values['protocol_version']!r} is no number")
            values["protocol_version"] = int(values["protocol_version"])
        return cls(**values)

    def matches(self, wanted: Mapping[str, str]) -> bool:
        """Whether the condition has the values that a user asks for."""
        own = self.texts()
        return all(own[name] == value for name, value in wanted.items())

    @property
    def drawn(self) -> tuple[str, ...]:
        """Sides of a pair whose scored or labelled utterances differ between draws."""
        sides = (("source", self.shots != "all"), ("target", self.prior != "natural"))
        return tuple(side for side, redrawn in sides if redrawn)

    def concentration(self) -> float | None:
        """The Dirichlet concentration of the target prior; None where it is natural.

        Raises:
            SpecError: the prior is neither `natural` nor `dirichlet:` with a positive number.
        """
        if self.prior == "natural":
            return None
        kind, _, number = self.prior.partition(":")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if kind != "dirichlet" or not 0 < value < math.inf:
            raise SpecError(
                f"target prior '{self.prior}' is unknown; write natural, or dirichlet:1 "
                "(any positive number; small ones are more imbalanced)"
            )
        return value


def parse_shots(text: str) -> Shots:
    """Read one shot count: a positive integer or `all`.

    Raises:
        SpecError: anything else.
    """
    if text == "all":
        return "all"
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text):  # int() raises where the digits are thousands
        raise SpecError(f"shots '{printable(text, limit=40)}': write a positive integer, or all")
    return int(text)


FAMILIES = {
    "Germanic": ("da", "de", "en", "is", "nb", "nl", "nn", "no", "sv"),
    "Romance": ("ca", "es", "fr", "gl", "it", "pt", "ro"),
    "Slavic": ("bg", "bs", "cs", "hr", "mk", "pl", "ru", "sk", "sl", "sr", "uk"),
    "Indo-Iranian": ("bn", "fa", "gu", "hi", "mr", "ne", "pa", "ps", "ur"),
    "Sinitic": ("cmn", "hak", "nan", "wuu", "yue", "zh"),
    "Turkic": ("az", "kk", "ky", "tr", "ug", "uz"),
    "Uralic": ("et", "fi", "hu"),
    "Semitic": ("am", "ar", "he", "mt"),
    "Dravidian": ("kn", "ml", "ta", "te"),
    "Japonic": ("ja",),
    "Koreanic": ("ko",),
}


# Two-letter codes, each with the ISO 639-2 and 639-3 codes of the same language, or of the standard
# variety of a macrolanguage: fra and fre are fr, cmn is zh.
_CODES = (
    "af:afr am:amh ar:ara,arb as:asm az:aze,azj be:bel bg:bul bn:ben bo:bod,tib bs:bos ca:cat "
    "cs:ces,cze cy:cym,wel da:dan de:deu,ger el:ell,gre en:eng eo:epo es:spa et:est,ekk "
    "eu:eus,baq fa:fas,per,pes,prs fi:fin fr:fra,fre ga:gle gl:glg gu:guj ha:hau he:heb,iw "
    "hi:hin hr:hrv hu:hun hy:hye,arm id:ind,in ig:ibo is:isl,ice it:ita ja:jpn jv:jav,jw "
    "ka:kat,geo kk:kaz km:khm kn:kan ko:kor ky:kir lb:ltz lo:lao lt:lit lv:lav,lvs mk:mkd,mac "
    "ml:mal mn:mon,khk mr:mar ms:msa,may,zsm mt:mlt my:mya,bur nb:nob ne:nep,npi nl:nld,dut "
    "nn:nno no:nor or:ori,ory pa:pan pl:pol ps:pus pt:por qu:que ro:ron,rum,mo ru:rus rw:kin "
    "sd:snd si:sin sk:slk,slo sl:slv so:som sq:sqi,alb,als sr:srp sv:swe sw:swa,swh ta:tam "
    "te:tel tg:tgk th:tha tk:tuk tl:tgl,fil tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb,uzn "
    "vi:vie wo:wol xh:xho yi:yid,ydd,ji yo:yor zh:zho,chi,cmn zu:zul"
)
_TWO_LETTERS = {long: entry[:2] for entry in _CODES.split() for long in entry[3:].split(",")}


def canonical_language(tag: str) -> str:
    """One spelling for a language tag: `FRA-ca` is `fr-CA`.

    Args:
        tag: BCP 47; ISO 639-2 and 639-3 codes become those of two letters where there is one.
    """
    primary, *rest = tag.replace("_", "-").split("-")
    primary = primary.lower()
    regions = (part.upper() if len(part) == 2 else part for part in rest)
    return "-".join((_TWO_LETTERS.get(primary, primary), *regions))


def same_language(one: str, other: str) -> bool:
    """Whether two tags name one language, wherever it is spoken (`pt-BR` and `por` do).

    Both written forms of Norwegian (nb, nn) are Norwegian.
    """
    bases = (canonical_language(tag).partition("-")[0] for tag in (one, other))
    first, second = ("no" if base in ("nb", "nn") else base for base in bases)
    return first == second


def family(language: str) -> str:
    """The family of a language; the language itself where none is listed.

    Args:
        language: BCP 47 tag, such as `de` or `pt-BR`.
    """
    base = canonical_language(language).partition("-")[0]
    for name, members in FAMILIES.items():
        if base in members:
            return name
    return language
