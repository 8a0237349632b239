"""Shards: the features of some utterances in one checked file, named by what is in it.

A shard is `shards/<feature key>/<shard key>.safetensors`. Its key hashes the feature key and the
content hashes of its rows, so a shard that exists is the right one, whatever corpus, path or run
asks for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from clser_bench.errors import FeatureError
from clser_bench.features.files import write_file
from clser_bench.features.sets import INSTANTS, FeatureSet
from clser_bench.hashing import digest, digest_array
from clser_bench.problem import Floats

ROWS = 32
"""About how many utterances a shard has: what a killed run loses, per process."""

ABOUT = "about.json"
"""In the folder of a set's shards: what the set is."""

_ENTRY = "clser-bench"
_DAMAGE = (safetensors.SafetensorError, ValueError, KeyError, TypeError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Shard:
    """Features of some utterances.

    Attributes:
        contents: their content hashes, sorted.
        instants: float32 [m, t, d].
        summary: float32 [m, f].
    """

    contents: tuple[str, ...]
    instants: Floats
    summary: Floats


def shard_key(features: FeatureSet, contents: Sequence[str]) -> str:
    """Name a shard.

    Args:
        features: the feature set.
        contents: content hashes, sorted.

    Returns:
        64 hexadecimal digits.
    """
    return digest({"features": features.key, "contents": list(contents)})


def shard_path(cache: Path, features: FeatureSet, contents: Sequence[str]) -> Path:
    """Where a shard lies; arguments as for `shard_key`."""
    name = f"{shard_key(features, contents)}.safetensors"
    return cache / "shards" / features.key / name


def describe_shards(cache: Path, features: FeatureSet) -> None:
    """Write beside the shards of a set what it is, for `features list`.

    Args:
        cache: the cache folder.
        features: the set.

    Raises:
        FeatureError: the file cannot be written.
    """
    about = {
        "name": features.name,
        "parameters": dict(features.parameters),
        "instants": len(features.instants),
        "summary": len(features.summary),
    }
    path = cache / "shards" / features.key / ABOUT
    if not path.is_file():
        write_file(path, json.dumps(about, indent=1).encode("utf-8"))


def divide(contents: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Cut content hashes into shards of about `ROWS`, by their first bits.

    So a corpus with one file more shares all shards but one with the corpus before.

    Args:
        contents: hexadecimal content hashes, in any order; each counts once.

    Returns:
        The contents of each shard, sorted; no shard is empty.
    """
    distinct = sorted(set(contents))
    bits = max(0, (max(len(distinct) - 1, 0) // ROWS).bit_length())
    buckets: dict[int, list[str]] = {}
    for content in distinct:
        buckets.setdefault(int(content[:8], 16) >> (32 - bits), []).append(content)
    return tuple(tuple(bucket) for _, bucket in sorted(buckets.items()))


def write_shard(path: Path, shard: Shard) -> None:
    """Write a shard, whole or not at all; the same shard gives the same bytes.

    Raises:
        FeatureError: the disk is full, or the file cannot be written.
    """
    # One entry only: safetensors writes several in no fixed order.
    entry = json.dumps({"contents": list(shard.contents), "checksum": _checksum(shard)})
    tensors = {"instants": shard.instants, "summary": shard.summary}
    write_file(path, safetensors.numpy.save(tensors, metadata={_ENTRY: entry}))


def read_shard(path: Path, features: FeatureSet, contents: Sequence[str]) -> Shard | None:
    """Read a shard and check every byte of it.

    Args:
        path: the file.
        features: the feature set.
        contents: what it must hold, sorted.

    Returns:
        The shard; None where there is no file or a damaged one (which is told in the log).

    Raises:
        FeatureError: the file is there and may not be read.
    """
    try:
        shard = _parse(path)
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _tell_damage(path, str(error))
        return None
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    count = len(contents)
    shapes = (count, INSTANTS, len(features.instants)), (count, len(features.summary))
    if (shard.instants.shape, shard.summary.shape) != shapes or shard.contents != tuple(contents):
        _tell_damage(path, "it holds something else")
        return None
    return shard


def check_shard(path: Path) -> str | None:
    """Read all of a shard and tell what is wrong with it.

    Args:
        path: `shards/<feature key>/<shard key>.safetensors`.

    Returns:
        What is wrong, in words; None where nothing is, or the file is gone.

    Raises:
        FeatureError: the file is there and may not be read.
    """
    try:
        shard = _parse(path)
        key = digest({"features": path.parent.name, "contents": list(shard.contents)})
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        return f"{error} is missing" if isinstance(error, KeyError) else str(error)
    except OSError as error:
        raise FeatureError(f"{path}: cannot be read ({error.strerror})") from error
    shapes = shard.instants.shape, shard.summary.shape
    count = len(shard.contents)
    if [shape[:-1] for shape in shapes] != [(count, INSTANTS), (count,)]:
        return f"{shapes[0]} instants and {shapes[1]} summaries for {count} utterances"
    return None if path.stem == key else "it holds something else than its name says"


def _parse(path: Path) -> Shard:
    content = path.read_bytes()
    tensors = safetensors.numpy.load(content)
    size = int.from_bytes(content[:8], "little")
    entry = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][_ENTRY])
    shard = Shard(
        contents=tuple(entry["contents"]),
        instants=tensors["instants"],
        summary=tensors["summary"],
    )
    if entry["checksum"] != _checksum(shard):
        raise ValueError("the checksum does not fit")
    return shard


def _checksum(shard: Shard) -> str:
    state = hashlib.sha256(digest(list(shard.contents)).encode("ascii"))
    for array in (shard.instants, shard.summary):
        state.update(digest_array(np.asarray(array)).encode("ascii"))
    return state.hexdigest()


def _tell_damage(path: Path, why: str) -> None:
    _log.warning("%s is damaged (%s) and is made again", path, why)
