"""Loss scaling, which keeps fp16's small gradients from vanishing (Micikevicius et al. 2018)."""

from __future__ import annotations

from torch import Tensor


class LossScale:
    """fp16's guard against underflow: multiplies the loss by `value`, which halves on overflow and doubles after `patience` good steps."""

    def __init__(self, value: float = 2.0**16, patience: int = 2000) -> None:
        self.value = value
        self.patience = patience
        self.good = 0

    def __call__(self, loss: Tensor) -> Tensor:
        """loss: () -> ()."""
        return loss * self.value

    def unscale(self, grad: Tensor) -> bool:
        """Divide the gradient (n,) by the scale, in place, and adapt the scale: -> False where it overflowed, so that no step is taken."""
        grad.div_(self.value)
        if not bool(grad.isfinite().all()):
            self.value, self.good = self.value / 2, 0
            return False
        self.good += 1
        if self.good == self.patience:
            self.value, self.good = self.value * 2, 0
        return True
