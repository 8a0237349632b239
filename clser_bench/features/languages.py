"""Sets by language: the feature set of each corpus.

`set:NAME` (of `tasks/encoders.toml`), `set:./FILE.toml`, or written out: `set:de=egemaps,zh=mel`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features import user_table
from clser_bench.features.encoders import names as encoders
from clser_bench.features.encoders.names import tasks_table
from clser_bench.features.sets import FeatureSet, feature_set, split_joined
from clser_bench.files import expanded, read_toml, validated
from clser_bench.protocol import base_code

PREFIX = "set:"


class LanguageSet(BaseModel):
    """Which feature set is for which language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    default: str = ""  # for all languages that are not named; empty for none
    # language tag or corpus code to the name of a feature set
    languages: dict[str, str] = Field(default_factory=dict)

    def name_for(self, spec: CorpusSpec) -> str:
        """The feature set of a corpus: by its code, its language, that language's first part."""
        base = base_code(spec.code)
        for key in (base, spec.language, spec.language.partition("-")[0]):
            if key in self.languages:
                return self.languages[key]
        if not self.default:
            raise FeatureError(
                f"the encoder set has nothing for {spec.title} ({spec.code}, language "
                f"'{spec.language}'), only for {', '.join(sorted(self.languages))}; add it, or a "
                "default"
            )
        return self.default


@dataclass(frozen=True, kw_only=True)
class FeatureAssignment:
    """The feature set of each corpus."""

    name: str  # what is written into records and tables: nothing in it is left open
    sets: Mapping[str, FeatureSet]

    @property
    def one(self) -> bool:
        """Whether all corpora have the same."""
        return len({features.key for features in self.sets.values()}) < 2


def is_set(name: str) -> bool:
    """Whether a name is that of an encoder set, which has a feature set for each language."""
    return name.startswith(PREFIX)


@functools.cache
def language_sets() -> dict[str, LanguageSet]:
    """The sets by language of `tasks/encoders.toml`, by name."""
    return {
        name: validated(LanguageSet, values, f"encoders.toml: set.{name}", error=FeatureError)
        for name, values in tasks_table("set").items()
    }


def resolve_feature_sets(name: str, specs: Mapping[str, CorpusSpec]) -> FeatureAssignment:
    """Find the feature set of each corpus; FeatureError for a name or encoder that is not there."""
    if not is_set(name):
        features = feature_set(name)
        return FeatureAssignment(name=features.name, sets=dict.fromkeys(specs, features))
    title, chosen = _chosen(name.removeprefix(PREFIX))
    sets = {code: feature_set(chosen.name_for(spec)) for code, spec in specs.items()}
    pairs = {(specs[code].language, features.name) for code, features in sets.items()}
    if len({language for language, _ in pairs}) < len(pairs):  # two corpora of one language differ
        pairs = {(code, features.name) for code, features in sets.items()}
    listed = ",".join(f"{key}={value}" for key, value in sorted(pairs))
    return FeatureAssignment(name=f"{PREFIX}{title}[{listed}]", sets=sets)


def rooted(name: str) -> str:
    """The same name with absolute paths, so that it can be used again from any folder."""
    return _placed(name, lambda path: str(path.absolute()))


def portable(name: str) -> str:
    """The same name with the last part of each path, as if it lay at hand."""
    return _placed(name, lambda path: f"./{path.name}")


def _placed(name: str, place: Callable[[Path], str]) -> str:
    """The same name with other paths."""
    if is_set(name):
        text = name.removeprefix(PREFIX)
        if text.endswith(".toml"):
            return f"{PREFIX}{place(expanded(text))}"
        parts = [part.partition("=") for part in text.split(",")]
        return PREFIX + ",".join(f"{key}{sign}{_placed(item, place)}" for key, sign, item in parts)
    names = split_joined(name)
    if len(names) > 1:
        return "+".join(_placed(one, place) for one in names)
    if name.startswith(user_table.PREFIX):
        file, pool = user_table.split_name(name)
        return f"{user_table.PREFIX}{place(file)}" + ("" if pool == "mean" else f":pool={pool}")
    if name.startswith(encoders.PREFIX) and encoders.parse(name).folder:
        folder, colon, options = name.removeprefix(encoders.PREFIX).partition(":")
        return f"{encoders.PREFIX}{place(expanded(folder))}{colon}{options}"
    return name


def _chosen(text: str) -> tuple[str, LanguageSet]:
    """The set, and its title."""
    if text.endswith(".toml"):
        path = expanded(text)
        values = read_toml(path, error=FeatureError)
        return path.stem, validated(LanguageSet, values, path, error=FeatureError)
    if "=" not in text:
        known = language_sets()
        if text not in known:
            raise FeatureError(
                f"encoder set '{text}' is unknown{did_you_mean(text, known)}; or write "
                "set:./FILE.toml, or set:de=egemaps,zh=mel"
            )
        return text, known[text]
    languages: dict[str, str] = {}
    for part in text.split(","):
        language, equals, name = part.strip().partition("=")
        if not (equals and language and name) or language in languages:
            raise FeatureError(
                f"encoder set '{text}': '{part}' is not LANGUAGE=FEATURES, each language once; "
                "such as set:de=egemaps,zh=mel,*=acoustic"
            )
        languages[language] = name
    return "", LanguageSet(default=languages.pop("*", ""), languages=languages)
