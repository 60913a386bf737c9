"""How the learning rate changes: a factor on optimizer.lr, a pure function of the step (plateau: of the epochs seen so far)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from dnnlab.config.base import Fraction, NonNegative, Positive, Settings, Span, SpanField

Factor = Annotated[float, Field(gt=0, le=1)]
NO_WARMUP = Span(0, "steps")


class Scheduler(Settings):
    """What every schedule has."""

    warmup: SpanField = NO_WARMUP
    """Linear rise from (almost) zero to the full rate at the beginning: 500steps, 3epochs or 5%."""


class Constant(Scheduler):
    """The same rate throughout."""

    kind: Literal["constant"]
    """The same rate throughout."""


class Step(Scheduler):
    """Times `factor` at regular intervals."""

    kind: Literal["step"]
    """Times factor at regular intervals."""
    every: SpanField = Span(30, "%")
    """Length of an interval."""
    factor: Factor = 0.1
    """Multiplier at each interval's end."""


class MultiStep(Scheduler):
    """Times `factor` at chosen points."""

    kind: Literal["multistep"]
    """Times factor at chosen points."""
    at: list[SpanField] = [Span(50, "%"), Span(75, "%")]
    """When the rate drops."""
    factor: Factor = 0.1
    """Multiplier at each point."""


class Exponential(Scheduler):
    """A fixed factor for every epoch, spread over its steps."""

    kind: Literal["exponential"]
    """factor^epochs, changing at each step."""
    factor: Factor = 0.95
    """Multiplier of one epoch."""


class Polynomial(Scheduler):
    """From 1 to `end` along (1 − t)^power; power 1 is linear."""

    kind: Literal["polynomial"]
    """(1 − end)·(1 − t)^power + end"""
    power: Positive = 1.0
    """1 is a line."""
    end: Fraction = 0.0
    """Factor that is reached when training ends."""


class InverseSqrt(Scheduler):
    """Constant for `flat`, then falling with the root of the step (Vaswani et al. 2017)."""

    kind: Literal["inverse_sqrt"]
    """min(1, sqrt(flat / step))"""
    flat: SpanField = Span(5, "%")
    """How long the full rate is kept before the fall."""


class Cosine(Scheduler):
    """Half a cosine from 1 to `end` (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"]
    """Half a cosine from 1 to end."""
    end: Fraction = 0.0
    """Factor that is reached when training ends."""


class CosineRestarts(Scheduler):
    """Half cosines that begin anew, each `growth` times as long (SGDR, Loshchilov and Hutter 2017)."""

    kind: Literal["cosine_restarts"]
    """Half cosines that begin anew."""
    first: SpanField = Span(10, "%")
    """Length of the first cycle."""
    growth: Annotated[float, Field(ge=1)] = 2.0
    """How much longer each cycle is than the one before."""
    end: Fraction = 0.0
    """Factor at the end of a cycle."""


class OneCycle(Scheduler):
    """Up and down once (Smith and Topin 2018), by cosines."""

    kind: Literal["one_cycle"]
    """From 1/start_div up to 1, then down to 1/end_div."""
    peak: SpanField = Span(30, "%")
    """When the full rate is reached."""
    start_div: Positive = 25.0
    """The first rate is the full one divided by this."""
    end_div: Positive = 1e4
    """The last rate is the full one divided by this."""


class WarmupCosine(Scheduler):
    """Linear warm-up, then half a cosine to `end`."""

    kind: Literal["warmup_cosine"]
    """Linear warm-up, then half a cosine."""
    warmup: SpanField = Span(5, "%")
    """Linear rise from (almost) zero to the full rate at the beginning: 500steps, 3epochs or 5%."""
    end: Fraction = 0.0
    """Factor that is reached when training ends."""


class WarmupStableDecay(Scheduler):
    """Linear warm-up, a plateau, then a straight fall to `end`."""

    kind: Literal["warmup_stable_decay"]
    """Linear warm-up, a plateau, a straight fall."""
    warmup: SpanField = Span(5, "%")
    """Linear rise from (almost) zero to the full rate at the beginning: 500steps, 3epochs or 5%."""
    decay: SpanField = Span(20, "%")
    """Length of the fall at the end."""
    end: Fraction = 0.0
    """Factor that is reached when training ends."""


class Plateau(Scheduler):
    """Times `factor` when trainer.monitor has not improved for `patience` validations."""

    kind: Literal["plateau"]
    """Times factor when the monitored metric stands still."""
    factor: Factor = 0.5
    """Multiplier at each drop."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Validations without improvement before a drop."""
    min_delta: NonNegative = 0.0
    """Smaller changes are no improvement."""


Schedule = Annotated[
    Constant | Step | MultiStep | Exponential | Polynomial | InverseSqrt | Cosine | CosineRestarts | OneCycle | WarmupCosine
    | WarmupStableDecay | Plateau,
    Field(discriminator="kind"),
]  # fmt: skip
