"""All that a method file imports, beside the maths of `clser_bench.nn` and `clser_bench.shallow`.

docs/own-method.md says how to write a method.
"""

from __future__ import annotations

from torch.nn.functional import cross_entropy

from clser_bench.errors import MethodError, NotApplicableError
from clser_bench.nn.backbone import HIDDEN, SharedClassifier
from clser_bench.problem import Floats, Problem, Rows, Table
from clser_bench.registry import hyper, register
from clser_bench.train.batches import rows_view
from clser_bench.train.contract import (
    Batch,
    Embedded,
    Fitted,
    Part,
    Phase,
    Prior,
    Shape,
    Snapshot,
    SourceFree,
    State,
    Support,
    Trained,
    View,
    join,
)

__all__ = [
    "HIDDEN",
    "Batch",
    "Embedded",
    "Fitted",
    "Floats",
    "MethodError",
    "NotApplicableError",
    "Part",
    "Phase",
    "Prior",
    "Problem",
    "Rows",
    "Shape",
    "SharedClassifier",
    "Snapshot",
    "SourceFree",
    "State",
    "Support",
    "Table",
    "Trained",
    "View",
    "cross_entropy",
    "hyper",
    "join",
    "register",
    "rows_view",
]
