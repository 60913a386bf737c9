"""What every group of settings shares: frozen, strict, and closed to unknown keys."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema


class Settings(BaseModel):
    """A group of settings: no unknown key, no silent conversion, no change after reading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # validators are made when first used: help, completion and explanations need few of them
    )


@dataclass(frozen=True)
class Span:
    """A length of training: steps, epochs or a share of the whole.

    >>> Span.parse("10%").steps(total=500, per_epoch=50), Span.parse("2epochs").steps(total=500, per_epoch=50)
    (50, 100)
    >>> str(Span.parse(7)), Span.parse("1epoch").unit
    ('7steps', 'epochs')
    """

    amount: float
    unit: Literal["steps", "epochs", "%"]

    @classmethod
    def parse(cls, value: Any) -> Span:
        """Read `500`, `500steps`, `3epochs` or `10%`; a ValueError says what was wanted."""
        if isinstance(value, Span):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(steps?|epochs?|%)?", str(value)) if not isinstance(value, bool) else None
        if match is None:
            raise ValueError("must be a length such as 500steps, 3epochs or 10%")
        amount, unit = float(match[1]), match[2] or "steps"
        if unit.startswith("step") and amount != int(amount):
            raise ValueError("must be a whole number of steps")
        if unit == "%" and amount > 100:
            raise ValueError("must be at most 100%")
        return cls(amount, "%" if unit == "%" else "epochs" if unit.startswith("epoch") else "steps")

    def steps(self, *, total: int, per_epoch: int) -> int:
        """The length in optimizer steps, for a run of `total` steps with `per_epoch` steps an epoch."""
        scale = {"steps": 1.0, "epochs": float(per_epoch), "%": total / 100}[self.unit]
        return round(self.amount * scale)

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit}"


SpanField = Annotated[
    Span,
    BeforeValidator(Span.parse),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?(steps?|epochs?|%)?$"}]}),
]


@dataclass(frozen=True)
class Often:
    """How often something happens: every so many seconds, steps or epochs.

    >>> Often.parse("30s"), str(Often.parse("1epoch")), str(Often.parse(500))
    (Often(amount=30.0, unit='seconds'), '1epochs', '500steps')
    """

    amount: float
    unit: Literal["seconds", "steps", "epochs"]

    @classmethod
    def parse(cls, value: Any) -> Often:
        """Read `30s`, `500`, `500steps` or `1epoch`; a ValueError says what was wanted."""
        if isinstance(value, Often):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|steps?|epochs?)?", str(value)) if not isinstance(value, bool) else None
        if match is None or float(match[1]) <= 0:
            raise ValueError("must be a length above 0 such as 30s, 500steps or 1epoch")
        amount, unit = float(match[1]), match[2] or "steps"
        if unit.startswith("step") and amount != int(amount):
            raise ValueError("must be a whole number of steps")
        return cls(amount, "seconds" if unit == "s" else "epochs" if unit.startswith("epoch") else "steps")

    def __str__(self) -> str:
        return f"{self.amount:g}{'s' if self.unit == 'seconds' else self.unit}"


OftenField = Annotated[
    Often,
    BeforeValidator(Often.parse),
    PlainSerializer(str),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?(s|steps?|epochs?)?$"}]}),
]

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]  # a rate that may not reach 1
Fraction = Annotated[float, Field(ge=0, le=1)]
Width = Annotated[int, Field(ge=1)]
