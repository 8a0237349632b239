"""What stands beside the rows of an exported file: rules, answer keys, order of pairs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from clser_bench.store.records import MethodNote, Slice

FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(_Model):
    """A method under one set of rules, as `records.Slice`: what a row of a table is made of."""

    suite: str
    features: str
    normalisation: str
    setting: str
    prior: str
    fixed4: bool
    selection: str
    shots: str
    protocol_version: int
    method: str
    assumes_prior: str
    role: Literal["ranked", "bound", "oracle"]
    note: str

    @property
    def rules(self) -> tuple[str | int, ...]:
        """What makes it the row that it is."""
        values = self.model_dump(exclude={"assumes_prior", "role", "note", "protocol_version"})
        return tuple(values.values())

    @property
    def said(self) -> MethodNote:
        """What tables say of the method."""
        return MethodNote(assumes_prior=self.assumes_prior, role=self.role, note=self.note)


class Sheet(_Model):
    """An answer key: class, speaker and name of each scored utterance."""

    hash: str
    y: tuple[int, ...]
    speakers: tuple[str, ...]
    names: tuple[str, ...]


class Left(_Model):
    """A file that `--skip-bad` left out."""

    corpus: str
    name: str
    reason: str


class Heading(_Model):
    """What stands beside the rows of a file.

    Attributes:
        format: of the file.
        protocol_version: of the rules.
        suites: suite to its pairs in table order.
        parts: rows of tables; trials name them by number.
        answers: answer keys; trials name them by hash.
        skipped: files left out.
    """

    format: int
    protocol_version: int
    suites: dict[str, tuple[tuple[str, str], ...]]
    parts: tuple[Part, ...]
    answers: tuple[Sheet, ...]
    skipped: tuple[Left, ...]


def part_of(item: Slice) -> Part:
    """What a file says of a slice.

    Args:
        item: the slice.
    """
    condition = item.condition
    return Part(
        suite=condition.suite,
        features=condition.features_label,
        normalisation=condition.normalisation,
        setting=condition.setting,
        prior=condition.prior,
        fixed4=condition.classes == "fixed4",
        selection=condition.selection,
        shots=str(condition.shots),
        protocol_version=condition.protocol_version,
        method=item.method,
        assumes_prior=item.note.assumes_prior,
        role=item.note.role,  # type: ignore[arg-type]  # checked by MethodNote
        note=item.note.note,
    )
