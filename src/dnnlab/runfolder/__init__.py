"""A run is a folder with a written grammar (docs/run-folder.md), and this room is the only one that knows its names.

    config.yaml  config.json       the settings: as people wrote them, and complete
    manifest.json                  format, and size and hash of the files beside it
    run.json                       status, seed, device, threads, versions, commit, command, times, final metrics
    metrics.jsonl  metrics.csv     one row for each logged record; the table is written at the end
    train.log                      what was said: times, warnings, findings
    schema.json                    the columns of the rows, the classes, what is asked
    checkpoints/                   the encoder, and generations of the state: tensors (safetensors) and the facts that belong to them (JSON)
    tensorboard/  plots/           views of all this
    folds/                         of a cross-validation: one run folder for each fold
    lock                           held while a process trains here

All JSON is strict: a number that is not finite is the text "nan", "inf" or "-inf".
"""

from dnnlab.runfolder.ends import record_failure, telling
from dnnlab.runfolder.folder import RunFolder, has_begun
from dnnlab.runfolder.generations import Generation
from dnnlab.runfolder.manifest import Manifest
from dnnlab.runfolder.names import SWEEP_TABLE

__all__ = ["SWEEP_TABLE", "Generation", "Manifest", "RunFolder", "has_begun", "record_failure", "telling"]
