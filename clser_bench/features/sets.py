"""Feature sets: ways to turn speech into instants and a summary, found by name.

A set by language (`set:NAME` of `tasks/encoders.toml`, `set:./FILE.toml`, or written out
`set:de=egemaps,zh=mel`) names one for each corpus. Importing this loads no audio library.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clser_bench.corpora.definitions import CorpusSpec
from clser_bench.errors import FeatureError, did_you_mean
from clser_bench.features import columns, user_table
from clser_bench.features.columns import INSTANTS, opensmile_columns
from clser_bench.features.encoders.models import (
    PREFIX,
    Context,
    Encoder,
    Precision,
    find_encoder,
    known_encoders,
    layer_numbers,
    parse,
    recommended_layer,
    tasks_table,
)
from clser_bench.features.user_table import UserTable
from clser_bench.files import expanded, read_toml, validated
from clser_bench.hashing import digest
from clser_bench.problem import Floats, Value
from clser_bench.protocol import base_code

ENTRY_POINTS = "clser_bench.features"
"""The group under which a distribution names feature sets."""

BY_LANGUAGE = "set:"  # what the names of sets by language begin with

LONGEST_SECONDS = 30.0
"""Longer utterances reach an encoder in equal pieces no longer than this; frames are joined."""

SHORTEST_SECONDS = 0.1
"""Shorter ones are padded with zeros on both sides to this."""

ENCODER_VERSION = 1
"""Raised when the features of encoders change though no model does."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an encoder."""

    encoder: Encoder
    number: int  # 0 is what enters the first layer
    precision: Precision
    context: Context | None = None  # what Whisper's frames attend to; empty for other encoders


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """A way to turn samples into instants and a summary.

    The values come from a module, utterance by utterance; from a layer of an encoder, batch by
    batch; from a table of the user; or from other sets: the columns of these names averaged over
    them (one set gives a choice of its columns, the layers of an encoder their mean), or all their
    columns side by side.
    """

    name: str
    version: int = 1  # raised when its values change though no parameter does
    about: str
    parameters: tuple[tuple[str, Value], ...] = ()  # everything that can be set, sorted by name
    instants: tuple[str, ...]  # names of the d features of an instant
    summary: tuple[str, ...]  # names of the f features of a summary
    module: str = ""  # whose `extract` and `check` do the work; imported when first needed
    layer: Layer | None = None
    table: UserTable | None = None
    parts: tuple[FeatureSet, ...] = ()  # the sets that this one is made of
    joined: bool = False  # whether the columns of the parts are put side by side, not averaged
    identity: str = ""  # takes the place of the name in the key

    @functools.cached_property
    def key(self) -> str:
        """Hash of everything that determines the values: 64 hexadecimal digits."""
        name = "joined" if self.joined else self.name
        identity: dict[str, Any] = {
            # Weights and tables are named by their content: they may lie in any folder.
            "name": "encoder" if self.layer else "table" if self.table else self.identity or name,
            "version": self.version,
            "parameters": [[name, value] for name, value in self.parameters],
            "dtype": "float32",
            "t": INSTANTS,
            "instants": list(self.instants),
            "summary": list(self.summary),
        }
        if self.parts:
            identity["parts"] = [part.key for part in self.parts]
        if self.joined:
            identity["joined"] = True
        return digest(identity)

    @property
    def sources(self) -> tuple[FeatureSet, ...]:
        """The sets that this one is made of in the end: itself where it has no parts."""
        if not self.parts:
            return (self,)
        return tuple(dict.fromkeys(one for part in self.parts for one in part.sources))

    def check(self) -> None:
        """Raise MissingExtraError unless the set's dependencies are installed."""
        if self.module:
            importlib.import_module(self.module).check(self.name)
        for part in self.parts:
            part.check()

    def extract(self, samples: Floats, rate: int) -> tuple[Floats, Floats]:
        """Compute the features of one utterance; the same bytes whatever ran before.

        Samples are float32 mono [samples], full scale 1, at a rate in Hz; instants are float32
        [t, d] and the summary float32 [f]. FeatureError where there are no samples, or the set does
        not work utterance by utterance; MissingExtraError where a dependency is absent.
        """
        if not self.module:
            raise FeatureError(f"feature set '{self.name}' is not computed utterance by utterance")
        if samples.ndim != 1 or not len(samples):
            raise FeatureError(f"samples must be mono [samples] and not empty, got {samples.shape}")
        module: Any = importlib.import_module(self.module)
        found: tuple[Floats, Floats] = module.extract(self.name, samples, rate)
        return found


_ACOUSTIC = FeatureSet(
    name="acoustic",
    about="log-mel, MFCC, pitch, loudness and spectral shape at 16 kHz; needs no extra",
    parameters=tuple(sorted(columns.ACOUSTIC_PARAMETERS.items())),
    instants=columns.ACOUSTIC_INSTANTS,
    summary=columns.ACOUSTIC_SUMMARY,
    module="clser_bench.features.acoustic",
)
_MINIMAL = dataclasses.replace(
    _ACOUSTIC,
    name="minimal",
    about="prosody, five MFCC, spectral shape and voice quality at 16 kHz; needs no extra",
    parameters=tuple(sorted(columns.MINIMAL_PARAMETERS.items())),
    instants=columns.MINIMAL_INSTANTS,
    summary=columns.MINIMAL_SUMMARY,
)

# Choices of acoustic's columns: about it, and which.
_PROSODY = "pitch, voicing, level, loudness and timing: acoustic without any spectrum"
_PARTS = {
    "mel": ("log-mel bands: 26 of acoustic's columns", columns.MEL),
    "mfcc": ("MFCC: 13 of acoustic's columns", columns.MFCC),
    "prosody": (_PROSODY, columns.PROSODY),
}

# About a set of openSMILE, its configuration and the levels.
_EGEMAPS = "eGeMAPSv02: 25 low-level descriptors, 88 functionals"
_COMPARE = "ComParE 2016: 65 low-level descriptors with deltas, 6373 functionals"
_OPENSMILE = {
    "egemaps": (_EGEMAPS, "eGeMAPSv02", "lld,func"),
    "compare16": (_COMPARE, "ComParE_2016", "lld,lld_de,func"),
}

FEATURE_SETS = (*_PARTS, "minimal", "acoustic", *_OPENSMILE)
"""The names of the acoustic sets."""


def _acoustic_set(name: str) -> FeatureSet:
    if name in _PARTS:
        about, chosen = _PARTS[name]
        of = (*chosen, *columns.TIMING) if name == "prosody" else chosen
        summary = tuple(
            column
            for column in columns.ACOUSTIC_SUMMARY
            if column in of or column.partition("_")[2] in of
        )
        parts = (_ACOUSTIC,)
        return FeatureSet(name=name, about=about, instants=chosen, summary=summary, parts=parts)
    if name in _OPENSMILE:
        about, configuration, levels = _OPENSMILE[name]
        parameters: dict[str, Value] = {"bits": 16, "levels": levels, "rate": "as decoded"}
        parameters |= {"set": configuration, "shortest_seconds": 0.1}
        instants, summary = opensmile_columns(name)
        return FeatureSet(
            name=name,
            about=f"openSMILE {about} (extra opensmile)",
            parameters=tuple(parameters.items()),
            instants=instants,
            summary=summary,
            module="clser_bench.features.opensmile",
        )
    return _MINIMAL if name == "minimal" else _ACOUSTIC


@functools.cache
def installed_sets() -> dict[str, importlib.metadata.EntryPoint]:
    """Sets of other distributions by name, from entry points; none of them is imported.

    An entry point of the group `clser_bench.features` names a `FeatureSet` that has its name.
    """
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def known_names() -> dict[str, str]:
    """Every name for one corpus, with the name that it is short for."""
    encoders = {name: f"{PREFIX}{one.model}" for name, one in known_encoders().items()}
    return {name: name for name in (*FEATURE_SETS, *installed_sets())} | encoders


def feature_set(name: str) -> FeatureSet:
    """Find a feature set by any name but that of a set by language (`resolve_feature_sets`).

    A name of `known_names`, an encoder's (`encoders.models.parse`), a table's (`table:FILE`, see
    `user_table.find_table`), or several of these joined by `+`. FeatureError where there is none of
    this name, or an encoder or a table cannot be used.
    """
    if is_set(name):
        raise FeatureError(
            f"'{name}' is a set for several languages; name one feature set here, such as acoustic"
        )
    first, *others = parts = tuple(map(_single, dict.fromkeys(split_joined(name))))
    if not others:
        return first
    # Columns of one table: each is taken once, and nothing is put side by side.
    one = all(part.parts == (_ACOUSTIC,) for part in parts)
    names = [part.name for part in parts]
    return FeatureSet(
        name="+".join(names),
        about="together: " + ", ".join(names),
        instants=_distinct((name for part in parts for name in part.instants), once=one),
        summary=_distinct((name for part in parts for name in part.summary), once=one),
        parts=(_ACOUSTIC,) if one else parts,
        joined=not one,
    )


def _distinct(columns: Iterable[str], *, once: bool) -> tuple[str, ...]:
    """Each name once, or a later one of the same name with its number before it."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in columns:
        seen[name] += 1
        if seen[name] == 1:
            distinct.append(name)
        elif not once:
            distinct.append(f"{seen[name]}.{name}")
    return tuple(distinct)


def split_joined(name: str) -> list[str]:
    """The names that are joined by `+`; a `+` within a name (`layer=6+9`) does not divide it."""
    names: list[str] = []
    known = known_names()
    for part in name.split("+"):
        begins = part.partition(":")[0] in known or part.startswith((PREFIX, user_table.PREFIX))
        if names and not begins:
            names[-1] += f"+{part}"
        else:
            names.append(part)
    return names


def _single(name: str) -> FeatureSet:
    head, colon, options = name.partition(":")
    if head in FEATURE_SETS and not colon:
        return _acoustic_set(head)
    if head in known_encoders():
        return _encoder_set(f"{PREFIX}{known_encoders()[head].model}{colon}{options}")
    if head in installed_sets() and not colon:
        return _installed_set(installed_sets()[head])
    if name.startswith(PREFIX):
        return _encoder_set(name)
    if name.startswith(user_table.PREFIX):
        return _table_set(name)
    near = did_you_mean(name, known_names(), command="list features")
    raise FeatureError(
        f"feature set '{name}' is unknown{near}; sets are joined by + "
        "(mfcc+prosody, egemaps+hubert-large); encoders without a short name are hf:REPOSITORY or "
        "hf:./FOLDER, your own features table:FILE"
    )


def _installed_set(point: importlib.metadata.EntryPoint) -> FeatureSet:
    where = f"entry point {point.name} = '{point.value}' of {ENTRY_POINTS}"
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise FeatureError(f"{where}: {error}") from error
    if not isinstance(found, FeatureSet) or found.name != point.name:
        raise FeatureError(f"{where}: is no FeatureSet of the name '{point.name}'")
    return found


def _table_set(name: str) -> FeatureSet:
    found = user_table.find_table(name)
    names = found.columns
    return FeatureSet(
        name=found.name,
        about=f"{found.path.name}: {len(names)} columns of your own",
        parameters=(("content", found.content), ("pool", found.pool)),
        instants=names,
        summary=_pooled_names(names, found.pool) if found.frames else names,
        table=found,
    )


def _encoder_set(name: str) -> FeatureSet:
    request = parse(name)
    encoder = find_encoder(request)
    whisper, precision = encoder.family == "whisper", request.precision
    if request.context and not whisper:
        raise FeatureError(
            f"encoder '{name}': context is for Whisper, which was trained on 30 s; "
            f"{encoder.family} encodes an utterance as it is"
        )
    wanted = request.layers or recommended_layer(encoder.name, count=encoder.layers)
    layers = layer_numbers(wanted, count=encoder.layers, name=name)
    context: Context | None = (request.context or "padded") if whisper else None
    parts = tuple(layer_set(encoder, n, precision, context=context) for n in layers)
    every = len(layers) == encoder.layers + 1
    old = _encoder_name(encoder, "all" if every else "+".join(map(str, layers)), precision)
    # Tables that were made before pools and contexts had names keep their keys.
    as_before = request.pool == "mean+sd" and context in (None, "30s")
    layer_names = f"layer {layers[0]}" if len(layers) == 1 else f"mean of {len(layers)} layers"
    return FeatureSet(
        name=f"{old}:pool={request.pool}" + (f":context={context}" if context else ""),
        about=f"{layer_names} of {encoder.name}",
        instants=parts[0].instants,
        summary=_pooled_names(parts[0].instants, request.pool),
        parts=parts,
        identity=old if as_before else "layers",
    )


def layer_set(
    encoder: Encoder, layer: int, precision: Precision, *, context: Context | None = None
) -> FeatureSet:
    """One layer of an encoder (0 is what enters the first): mean and deviation over frames."""
    names = tuple(f"hidden{column:04d}" for column in range(encoder.size))
    parameters: dict[str, Value] = {"content": encoder.content, "family": encoder.family}
    parameters |= {"layer": layer, "precision": precision}
    parameters |= {"longest_seconds": LONGEST_SECONDS, "shortest_seconds": SHORTEST_SECONDS}
    if context not in (None, "30s"):  # the values of 30s are those from before there was a choice
        parameters["context"] = context
    name = _encoder_name(encoder, str(layer), precision)
    return FeatureSet(
        name=f"{name}:context={context}" if context else name,
        version=ENCODER_VERSION,
        about=f"layer {layer} of {encoder.layers} of {encoder.name}",
        parameters=tuple(sorted(parameters.items())),
        instants=names,
        summary=_pooled_names(names, "mean+sd"),
        layer=Layer(encoder=encoder, number=layer, precision=precision, context=context),
    )


def _pooled_names(names: tuple[str, ...], pool: str) -> tuple[str, ...]:
    """The columns of a summary by the statistics over frames that it has."""
    return tuple(f"{statistic}_{name}" for statistic in pool.split("+") for name in names)


def _encoder_name(encoder: Encoder, layers: str, precision: Precision) -> str:
    """The name with its revision and layers; no path of this machine."""
    how = "" if precision == "float32" else f":precision={precision}"
    code = ":remote-code" if encoder.remote_code else ""
    return f"{PREFIX}{encoder.name}@{encoder.revision}:layer={layers}{how}{code}"


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
    return name.startswith(BY_LANGUAGE)


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
    title, chosen = _chosen(name.removeprefix(BY_LANGUAGE))
    sets = {code: feature_set(chosen.name_for(spec)) for code, spec in specs.items()}
    pairs = {(specs[code].language, features.name) for code, features in sets.items()}
    if len({language for language, _ in pairs}) < len(pairs):  # two corpora of one language differ
        pairs = {(code, features.name) for code, features in sets.items()}
    listed = ",".join(f"{key}={value}" for key, value in sorted(pairs))
    return FeatureAssignment(name=f"{BY_LANGUAGE}{title}[{listed}]", sets=sets)


def rooted(name: str) -> str:
    """The same name with absolute paths, so that it can be used again from any folder."""
    return _placed(name, lambda path: str(path.absolute()))


def portable(name: str) -> str:
    """The same name with the last part of each path, as if it lay at hand."""
    return _placed(name, lambda path: f"./{path.name}")


def _placed(name: str, place: Callable[[Path], str]) -> str:
    """The same name with other paths."""
    if is_set(name):
        text = name.removeprefix(BY_LANGUAGE)
        if text.endswith(".toml"):
            return f"{BY_LANGUAGE}{place(expanded(text))}"
        parts = (part.partition("=") for part in text.split(","))
        placed = (f"{key}{sign}{_placed(item, place)}" for key, sign, item in parts)
        return BY_LANGUAGE + ",".join(placed)
    names = split_joined(name)
    if len(names) > 1:
        return "+".join(_placed(one, place) for one in names)
    if name.startswith(user_table.PREFIX):
        file, pool = user_table.split_name(name)
        return f"{user_table.PREFIX}{place(file)}" + ("" if pool == "mean" else f":pool={pool}")
    if name.startswith(PREFIX) and parse(name).folder:
        folder, colon, options = name.removeprefix(PREFIX).partition(":")
        return f"{PREFIX}{place(expanded(folder))}{colon}{options}"
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
