"""The layers that torch does not have: keyed dropout and noise, a residual connection, a tied decoder."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from dnnlab.seeding import Noise


class KeyedDropout(nn.Module):
    """Inverted dropout whose mask is a function of seed, step and place, so that a resumed run draws what it would have drawn.

    Shape: (B, H) -> (B, H); the identity while evaluating.
    """

    def __init__(self, rate: float, place: str, noise: Noise) -> None:
        super().__init__()
        self.rate = rate
        self.place = place
        self.noise = noise

    def mask(self, x: Tensor) -> Tensor:
        """What this step multiplies x with. x: (B, H) -> (B, H) of 0 and 1/(1 − rate)."""
        return self.noise.mask(self.place, x.shape[0], x.shape[1], keep=1 - self.rate, dtype=x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H) -> (B, H)."""
        return x * self.mask(x) if self.training else x

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


class KeyedNoise(nn.Module):
    """Adds normal noise while training; a function of seed, step and place.

    Shape: (B, D) -> (B, D); the identity while evaluating.
    """

    def __init__(self, std: float, place: str, noise: Noise) -> None:
        super().__init__()
        self.std = std
        self.place = place
        self.noise = noise

    def draw(self, x: Tensor) -> Tensor:
        """What this step adds to x. x: (B, D) -> (B, D)."""
        return self.noise.normal(self.place, x.shape[0], x.shape[1], std=self.std, dtype=x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, D) -> (B, D)."""
        return x + self.draw(x) if self.training else x

    def extra_repr(self) -> str:
        """Show the standard deviation."""
        return f"std={self.std}"


class Residual(nn.Module):
    """x + block(x), for a block that keeps the width (He et al. 2016). Shape: (B, H) -> (B, H)."""

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H) -> (B, H)."""
        return x + cast(Tensor, self.block(x))


class TiedLinear(nn.Module):
    """A linear layer whose weight is another's, transposed; it owns only its bias.

    Shape: (B, out of the other) -> (B, in of the other).
    """

    def __init__(self, encoder: nn.Linear) -> None:
        super().__init__()
        self.bias = nn.Parameter(encoder.weight.new_zeros(encoder.in_features))
        self._encoder = (encoder,)  # in a tuple: a reference, not a child that would own the weight twice

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, H) -> (B, D)."""
        return F.linear(x, self._encoder[0].weight.t(), self.bias)
