"""An encoder as tensors and plain facts, and back again: nothing is imported or executed by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from dnnlab.data.encoding import Encoder, Vocabulary
from dnnlab.data.scaling import Scale, blank
from dnnlab.errors import ArtifactError, shown


def encoder_facts(encoder: Encoder) -> dict[str, Any]:
    """What an encoder is beside its tensors; JSON-able."""
    return {
        "scale": encoder.scale,
        "features": list(encoder.features),
        "categories": [
            {"name": name, "words": list(words.words), "missing": words.missing, "rare": words.rare, "one_hot": hot}
            for name, words, hot in zip(encoder.category_names, encoder.vocabularies, encoder.spread, strict=True)
        ],
    }


def restore_encoder(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Encoder:
    """The encoder that gave these facts and tensors; ArtifactError where they do not belong together."""
    try:
        scale: Scale = facts["scale"]
        if scale not in get_args(Scale):
            raise ValueError(f"an unknown scale {scale!r}")
        categories = facts["categories"]
        _check_types(tensors)
        encoder = Encoder(
            torch.zeros_like(tensors["fill"]),
            torch.zeros_like(tensors["kept"]),
            torch.zeros_like(tensors["flagged"]),
            blank(scale, len(tensors["kept"]), tensors["scaler.landmarks"].shape[1] if scale == "quantile" else 0),
            [Vocabulary(_words(item["words"]), _flag(item["missing"]), _flag(item["rare"])) for item in categories],
            [_flag(item["one_hot"]) for item in categories],
            features=_words(facts["features"]),
            category_names=_words([item["name"] for item in categories]),
            scale=scale,
        )
        encoder.load_state_dict(dict(tensors))
        _check_places(encoder)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        raise ArtifactError(f"a saved encoder must be whole, however: {shown(str(error))}", where="checkpoints/encoder") from error
    return encoder


def _check_types(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        wanted = (torch.int64,) if name in ("kept", "flagged") else (torch.float32, torch.float64)
        if tensor.dtype not in wanted:
            raise ValueError(f"{name} must be of {' or '.join(map(str, wanted))}, however: {tensor.dtype}")


def _check_places(encoder: Encoder) -> None:
    count = len(encoder.features)
    for name, places in (("kept", encoder.kept), ("flagged", encoder.flagged)):
        if len(places) and not (int(places.min()) >= 0 and int(places.max()) < count):
            raise ValueError(f"{name} names a column beyond {count}")
        if places.ndim != 1 or not bool((places.diff() > 0).all()):
            raise ValueError(f"{name} is not in order")
    if encoder.fill.shape not in ((count,), (0,)):
        raise ValueError(f"fill is not of {count} columns")
    bad = next((name for name, tensor in encoder.state_dict().items() if not tensor.isfinite().all()), None)
    if bad is not None:
        raise ValueError(f"{bad} is not finite")


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is to be said")
    return value


def _words(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError("names are to be texts")
    return tuple(values)
