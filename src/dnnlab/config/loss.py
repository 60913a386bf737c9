"""What training makes small."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from dnnlab.config.base import NonNegative, Positive, Probability, Settings

ClassWeights = Annotated[list[Positive], Field(min_length=2)] | Literal["balanced"] | None


class Plain(Settings):
    """A loss without settings of its own."""

    kind: Literal["auto", "mse", "mae", "log_cosh", "hinge", "squared_hinge", "perceptron"]
    """auto: cross_entropy, bce or mse by the task; the perceptron criterion for model=perceptron."""


class Huber(Settings):
    """Square near zero, linear beyond `delta` (Huber 1964)."""

    kind: Literal["huber"]
    """Square near zero, linear beyond delta."""
    delta: Positive = 1.0
    """Where the square turns into a line, in units of the (scaled) target."""


class Bce(Settings):
    """Binary cross-entropy of raw scores."""

    kind: Literal["bce"]
    """Binary cross-entropy of raw scores."""
    label_smoothing: Probability = 0.0
    """Share of certainty taken from each label."""
    class_weights: ClassWeights = None
    """Weight of class 0 and of class 1, or balanced."""


class CrossEntropy(Settings):
    """Softmax cross-entropy of raw scores."""

    kind: Literal["cross_entropy"]
    """Softmax cross-entropy of raw scores."""
    label_smoothing: Probability = 0.0
    """Share of certainty spread evenly over all classes."""
    class_weights: ClassWeights = None
    """A weight per class, in the order of the classes, or balanced."""


class Focal(Settings):
    """Cross-entropy that looks away from what is already right (Lin et al. 2017)."""

    kind: Literal["focal"]
    """Cross-entropy times (1 − p)^gamma."""
    gamma: NonNegative = 2.0
    """How fast easy rows lose weight; 0 is cross-entropy."""
    class_weights: ClassWeights = None
    """A weight per class, or balanced."""


class Custom(Settings):
    """A user's own loss: `target(**args)` gives a callable (scores, target) -> loss of each row; its package must be trusted."""

    kind: Literal["custom"]
    """Your own loss."""
    target: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
    """package.module.Name of a class or factory."""
    args: dict[str, Any] = {}
    """Keyword arguments for it."""


Loss = Annotated[Plain | Huber | Bce | CrossEntropy | Focal | Custom, Field(discriminator="kind")]
