"""Real data sets that scikit-learn carries, so that nothing is to be downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from dnnlab.data.dataset import Source

CLASSES = ("digits", "iris", "wine", "breast_cancer")


def load_bundled(name: str) -> Source:
    """digits (1797 images of 8x8, 10 classes), iris (150, 3), wine (178, 3), breast_cancer (569, 2), diabetes (442, a number)."""
    bunch = _loader(name)()
    classified = name in CLASSES
    y = torch.as_tensor(bunch.target)
    return Source(
        name=name,
        x=torch.as_tensor(bunch.data, dtype=torch.float64),
        y=y.long() if classified else y.double().unsqueeze(1),
        features=tuple(str(feature).replace(" ", "_") for feature in bunch.feature_names),
        classes=tuple(str(label) for label in bunch.target_names) if classified else (),
        image_shape=(8, 8) if name == "digits" else None,
    )


def _loader(name: str) -> Callable[[], Any]:
    from sklearn import datasets  # takes half a second to import

    loaders: dict[str, Callable[[], Any]] = {
        "digits": datasets.load_digits,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "breast_cancer": datasets.load_breast_cancer,
        "diabetes": lambda: datasets.load_diabetes(scaled=False),  # the patients' own units
    }
    return loaders[name]
