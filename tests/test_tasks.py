"""Answers are what scikit-learn, or a person with a pencil, would make of the scores."""

from __future__ import annotations

import pytest
import torch

from dnnlab.tasks import Answer, Task


def test_classification_is_two_of_the_four_tasks() -> None:
    assert [task for task in Task if task.classifies] == [Task.BINARY, Task.MULTICLASS]


def test_logits_answer_with_the_likeliest_class() -> None:
    scores = torch.randn(50, 4)
    answer = Answer(Task.MULTICLASS, "softmax")
    assert torch.equal(answer.labels(scores), answer.probabilities(scores).argmax(-1))
    torch.testing.assert_close(answer.probabilities(scores).sum(-1), torch.ones(50))


def test_one_logit_answers_one_where_that_is_likelier() -> None:
    scores = torch.tensor([[-3.0], [0.0], [0.1]])
    answer = Answer(Task.BINARY, "sigmoid")
    assert answer.labels(scores).tolist() == [0, 0, 1]
    torch.testing.assert_close(answer.probabilities(scores), torch.sigmoid(scores.squeeze(1)))


def test_squared_error_scores_are_probabilities_cut_to_what_those_can_be() -> None:
    two, several = Answer(Task.BINARY, "clamp"), Answer(Task.MULTICLASS, "clamp")
    assert two.labels(torch.tensor([[0.4], [0.6], [3.0], [-1.0]])).tolist() == [0, 1, 1, 0]
    assert two.probabilities(torch.tensor([[0.25], [3.0], [-1.0]])).tolist() == [0.25, 1.0, 0.0]
    assert several.probabilities(torch.tensor([[0.2, 0.6, -1.0], [2.0, 1.0, 0.0]])).tolist() == [[0.25, 0.75, 0.0], [0.5, 0.5, 0.0]]


def test_no_class_having_a_share_leaves_all_alike() -> None:
    several = Answer(Task.MULTICLASS, "clamp")
    assert several.probabilities(torch.tensor([[-1.0, -2.0, -3.0, -0.5]])).tolist() == [[0.25] * 4]


@pytest.mark.parametrize("task", [Task.REGRESSION, Task.RECONSTRUCTION])
def test_values_come_back_in_the_units_of_the_data(task: Task) -> None:
    target = torch.randn(20, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([100.0, -5.0])
    shift, factor = target.mean(0), target.std(0)
    answer = Answer(task, "identity", tuple(shift.tolist()), tuple(factor.tolist()))
    torch.testing.assert_close(answer.values((target - shift) / factor), target)
    torch.testing.assert_close(answer.unscale((target - shift) / factor), target)


def test_unscaled_values_are_left_as_they_are() -> None:
    scores = torch.randn(3, 2)
    assert torch.equal(Answer(Task.REGRESSION, "identity").values(scores), scores)
    assert torch.equal(Answer(Task.RECONSTRUCTION, "sigmoid").values(scores), torch.sigmoid(scores))
