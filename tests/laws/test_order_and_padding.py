"""Law 7: an evaluation gives the same figures for any batch size and any order of the rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dnnlab import losses
from dnnlab.metrics import evaluate, fitting
from dnnlab.tasks import Answer, Task

ROWS = 103
CASES = {
    "binary": (Answer(Task.BINARY, "sigmoid"), 1, losses.BinaryCrossEntropy(class_weights=torch.tensor([1.0, 3.0], dtype=torch.float64))),
    "multiclass": (
        Answer(Task.MULTICLASS, "softmax"), 4, losses.CrossEntropy(0.1, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)),
    ),
    "margin": (Answer(Task.MULTICLASS, "softmax"), 4, losses.Hinge()),
    "regression": (Answer(Task.REGRESSION, "identity", (3.0,), (2.0,)), 1, losses.Huber(0.5)),
    "reconstruction": (Answer(Task.RECONSTRUCTION, "sigmoid"), 6, losses.BinaryCrossEntropy()),
}  # fmt: skip


def target_for(task: Task, x: Tensor, outputs: int) -> Tensor:
    """A target of the task's form, uneven in its classes."""
    random = torch.Generator().manual_seed(1)
    if task is Task.BINARY:
        return (torch.rand(ROWS, 1, generator=random) < 0.3).to(x.dtype)
    if task is Task.MULTICLASS:
        return torch.randint(0, outputs, (ROWS,), generator=random) // 2 * 2 % outputs
    return torch.sigmoid(x) if task is Task.RECONSTRUCTION else x[:, :1] * 2


@pytest.mark.parametrize("case", CASES)
def test_batches_and_order_do_not_change_an_evaluation(case: str) -> None:
    answer, outputs, loss = CASES[case]
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = target_for(answer.task, x, outputs)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, outputs)).double().eval()
    names = fitting(answer.task, margin=case == "margin")
    whole = evaluate(network, x, target, loss.mean, answer, names, batch_rows=ROWS)
    assert set(whole) == {"loss", *names}
    for batch_rows in (1, 2, 32, 102, 1000):
        other = evaluate(network, x, target, loss.mean, answer, names, batch_rows=batch_rows)
        assert other == pytest.approx(whole, abs=1e-6, nan_ok=True)
    for order in (torch.arange(ROWS - 1, -1, -1), torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))):
        other = evaluate(network, x[order], target[order], loss.mean, answer, names, batch_rows=32)
        assert other == pytest.approx(whole, abs=1e-6, nan_ok=True)
