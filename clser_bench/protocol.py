"""Declarative definitions: emotions, corpora, pairs, suites, conditions.

Nothing here reads a file or touches an array.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clser_bench.errors import SpecError, did_you_mean, printable

PROTOCOL_VERSION = 2  # raised when a rule of docs/protocol.md changes a number
EMOTIONS = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""Every emotion the benchmark knows, in the order in which classes stand everywhere."""

DEFAULT_FEATURES = "minimal"  # the built-in feature set that the suite `dev` prefers
FIXED_FOUR = ("anger", "fear", "happiness", "sadness")
"""The classes of `Condition.classes` "fixed4"."""

CLEAN = "clean"  # the text of a target that is not corrupted
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

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,15}")
CODE_OF_PART = re.compile(rf"{CODE.pattern}(\.({'|'.join(PARTS)}))*")


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

        SpecError where the text is none of these, or both codes are the same.
        """
        parts = re.split(r"→|->|:", text.strip())
        if len(parts) != 2 or not all(CODE_OF_PART.fullmatch(part) for part in parts):
            raise SpecError(f"pair {text!r}: write SOURCE->TARGET with corpus codes, such as B->C")
        if parts[0] == parts[1]:
            raise SpecError(f"pair {text!r}: source and target must differ")
        return cls(parts[0], parts[1])


def base_code(code: str) -> str:
    """The code of the corpus that a part is of; of a whole corpus its own."""
    return code.partition(".")[0]


WRITTEN = (
    *("suite", "classes", "features", "alignment", "corruption", "normalisation", "setting"),
    *("prior", "unlabelled", "selection", "shots", "protocol_version"),
)
"""Fields of a condition that ids of trials and headings of tables write each in its own way."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """The rules that all rows of one table share (docs/protocol.md).

    A new rule is a field with a default here, and its help in `cli.options`; ids, the results file,
    tables and cards take it from here.
    """

    suite: str = ""  # its name; empty where it is not chosen yet
    features: str = DEFAULT_FEATURES  # the feature set, or the sets of the languages
    alignment: str = ""  # of sets that differ by language; empty where all corpora share one
    corruption: str = ""  # of the target, `noise:10`; empty for clean speech
    normalisation: Normalisation = "corpus"  # whose statistics the z-scores use
    # `inductive`: half of the target's speakers adapt, the other half is scored, and the other way
    # round; `held-out`: a fifth of the source's labels is scored (for model selection only)
    setting: Setting = "transductive"
    prior: str = "natural"  # or `dirichlet:A`, the target is resampled to an imbalanced one
    classes: Classes = "shared"  # the emotions that both corpora have; or of those `FIXED_FOUR`
    unlabelled: tuple[str, ...] = ()  # sorted codes of added corpora, used without labels
    selection: str = "default"  # how hyper-parameters were chosen
    shots: Shots = 5  # labelled utterances of each class
    protocol_version: int = PROTOCOL_VERSION  # of the rules of docs/protocol.md

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
            if not CODE.fullmatch(code):
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

    def unusual(self, *, besides: Collection[str] = WRITTEN) -> dict[str, str]:
        """The fields that have not their defaults, as text, besides those that are named."""
        usual = type(self)().texts()
        texts = self.texts().items()
        return {name: text for name, text in texts if text != usual[name] and name not in besides}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Condition:
        """The condition that `texts` wrote; fields that are left out have their defaults.

        SpecError where a value is not allowed.
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
    """Read one shot count: a positive integer or `all`; SpecError for anything else."""
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

    `tag`: BCP 47; ISO 639-2 and 639-3 codes become those of two letters where there is one.
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
    """The family of a language; the language itself where none is listed."""
    base = canonical_language(language).partition("-")[0]
    for name, members in FAMILIES.items():
        if base in members:
            return name
    return language
