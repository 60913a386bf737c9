"""What a table is: its columns, what each is taken for and why, and what is asked. Plain facts, saved with a run as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dnnlab.errors import ArtifactError, shown
from dnnlab.tables.columns import Spec

Role = Literal["numeric", "boolean", "date", "categorical", "ignore", "target", "split"]
ROLES = ("numeric", "boolean", "date", "categorical", "ignore", "target", "split")


@dataclass(frozen=True)
class Column:
    """One column of a table, of its training rows where figures are told."""

    name: str
    role: Role
    reason: str  # why it is taken for that
    type: str = ""  # how the file holds it
    form: str = ""  # of a date: how it is written
    timed: bool = False  # of a date: whether it has a time of day
    missing: int = 0
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    encoding: str = ""  # what becomes of it

    @property
    def spec(self) -> Spec:
        """How its cells are read."""
        if self.role in ("ignore", "target", "split"):
            raise ValueError(f"{self.name} is no input")
        return Spec(self.name, self.role, self.form, self.timed)  # type: ignore[arg-type]

    @property
    def is_input(self) -> bool:
        """Whether the network sees it."""
        return self.role in ("numeric", "boolean", "date", "categorical")


@dataclass(frozen=True)
class Schema:
    """The columns in the order of the file, and what is asked of them."""

    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    task: str  # binary, multiclass or regression
    reason: str  # why that is the task
    classes: tuple[str, ...] = ()
    relabel: Mapping[str, str] = field(default_factory=dict)
    na_values: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that the network sees, in order."""
        return tuple(column for column in self.columns if column.is_input)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def read_schema(document: Mapping[str, Any]) -> Schema:
    """What `document` wrote; ArtifactError where it is something else."""
    try:
        columns = tuple(Column(**_typed(column)) for column in document["columns"])
        return Schema(
            columns=columns,
            targets=_texts(document["targets"]),
            task=str(document["task"]),
            reason=str(document["reason"]),
            classes=_texts(document["classes"]),
            relabel={str(key): str(value) for key, value in document["relabel"].items()},
            na_values=_texts(document["na_values"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"the schema of a run must hold columns, targets and a task, however: {shown(str(error))}", where="schema.json"
        ) from error


def _typed(column: Mapping[str, Any]) -> dict[str, Any]:
    if column["role"] not in ROLES or not isinstance(column["name"], str):
        raise ValueError(f"a column of the role {column['role']!r}")
    return dict(column)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is none")
    return tuple(values)
