"""From a composed config to a typed request: files looked at, references resolved, settings read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from dnnlab.config.reader import kinds_in, read
from dnnlab.config.request import Request
from dnnlab.config.run import OF_SWEEP
from dnnlab.config.schema import lookup
from dnnlab.config.yamlfile import inspect
from dnnlab.door.arguments import Arguments, as_typed
from dnnlab.door.choices import override_key
from dnnlab.door.origins import Origins
from dnnlab.door.references import resolve
from dnnlab.door.survey import files_in_use, name_columns, plain


def request_of(config: DictConfig, context: Any, arguments: Arguments, *, folder: Path | None, root: Path) -> Request:
    """The request of one run. context: Hydra's own settings; folder: the exact run folder; root: where the run makes one else."""
    own = typed(context.overrides.task)
    overrides = [*typed(context.overrides.hydra), *own]
    origins = Origins(files_in_use(context, overrides), tuple(overrides))
    kinds = kinds_in(plain(config))
    for file in origins.files:
        inspect(file.path, wants=lambda key: fact.words if (fact := lookup(key, kinds)) else "", package=file.package)
    name_columns(config)
    resolved = resolve(config, origins)
    settings = read(resolved.mapping, origin=origins, references=resolved.shown)
    with open_dict(config):
        for key in OF_SWEEP:
            del config[key]
    return Request(
        config=settings,
        written=OmegaConf.to_yaml(config),
        document=resolved.keep_references(settings.model_dump(mode="json", exclude=set(OF_SWEEP))),
        folder=folder,
        root=root,
        trusted=arguments.trusted,
        brief=context.mode == RunMode.MULTIRUN,
        argv=tuple(as_typed(word) for word in own if not override_key(word).startswith("sweep.")),
    )


def typed(overrides: Any) -> list[str]:
    """Overrides as they were typed: reading them from Hydra's config one by one would resolve the references in them."""
    return [str(override) for override in OmegaConf.to_container(overrides, resolve=False) or ()]
