"""What a run keeps of its rows beside the network: the schema, the encoder, what scores mean. All that a later prediction reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from dnnlab.assembly import Parts
from dnnlab.data.saved import encoder_facts
from dnnlab.runfolder import RunFolder


def keep_description(parts: Parts, folder: RunFolder) -> None:
    """Write schema.json and the encoder; what the files of a table were goes to run.json."""
    folder.describe(*description_of(parts))
    table = parts.rows.table
    if table is not None and table.files:
        folder.status("running", {"data": [asdict(file) for file in table.files]})


def description_of(parts: Parts) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """-> the schema, the encoder's tensors, its facts."""
    encoder = parts.rows.source.encoder
    return _schema(parts), encoder.state_dict(), encoder_facts(encoder)


def _schema(parts: Parts) -> dict[str, Any]:
    rows, source, answer = parts.rows, parts.rows.source, parts.answer
    if rows.table is not None:
        columns = rows.table.schema.document()
    else:
        named = [{"name": name, "role": "numeric", "reason": "the source says so"} for name in source.encoder.features]
        columns = {"columns": named, "targets": list(source.targets), "task": str(source.task), "reason": "the source says so"}
        columns |= {"classes": list(source.classes), "relabel": {}, "na_values": []}
    scaling = {"shift": list(answer.shift), "factor": list(answer.factor), "log": answer.log}  # none where the row itself is the target
    return {**columns, "answer": {"task": str(answer.task), "link": answer.link, "outputs": rows.outputs, **scaling}}
