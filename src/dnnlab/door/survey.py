"""Composes settings without running them: for explanations, and to say what should have been written instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from dnnlab.config.reader import kinds_in
from dnnlab.config.schema import Kinds, groups
from dnnlab.door.arguments import Arguments, decoded
from dnnlab.door.choices import CONFIG_NAME, CONFIGS, override_key
from dnnlab.door.origins import Origins, Used


@dataclass(frozen=True)
class Survey:
    """Composed settings, who set them, and the keys on the command line that no setting has."""

    config: DictConfig
    origins: Origins
    unknown: tuple[str, ...] = ()
    kinds: Kinds = field(default_factory=dict)


def survey(arguments: Arguments) -> Survey:
    """Compose what a command line says, leaving out the keys that do not exist; of several values to sweep over the first is taken."""
    overrides, unknown = _single(arguments.overrides), []
    extra = _search_path(arguments.config_dir)
    name = arguments.option("-cn", "--config-name") or CONFIG_NAME
    with initialize_config_dir(config_dir=str(CONFIGS), job_name=CONFIG_NAME):
        while True:
            try:
                config = compose(name, overrides=[*extra, *overrides], return_hydra_config=True)
                break
            except ConfigCompositionException as error:
                key = unknown_key_of(error)
                kept = [item for item in overrides if not key or not _leads_to(item, key)]
                if len(kept) == len(overrides):
                    raise
                overrides = kept
                unknown.append(key)
        origins = Origins(files_in_use(config.hydra, [*extra, *overrides]), tuple(overrides))
    with open_dict(config):
        del config["hydra"]
    name_columns(config)
    return Survey(config, origins, tuple(unknown), kinds_in(plain(config)))


def name_columns(config: DictConfig) -> None:
    """Give the columns that the command line declares the names that were typed; see `arguments.parse`."""
    data = config.get("data")
    columns = data.get("columns") if isinstance(data, DictConfig) else None
    if not isinstance(columns, DictConfig) or columns._is_none() or columns._is_missing():
        return
    typed = [key for key in columns if isinstance(key, str) and decoded(key) != key]
    with read_write(columns), open_dict(columns):
        for key in typed:
            node = columns._get_node(key)
            del columns[key]
            columns[decoded(key)] = node


def files_in_use(context: Any, overrides: Sequence[str]) -> tuple[Used, ...]:
    """The files of a composed config in their order, the later winning; `context` is its hydra node. Within Hydra only."""
    loader = GlobalHydra.instance().config_loader()
    listed = loader.compute_defaults_list(context.job.config_name, list(overrides), RunMode.RUN).defaults
    folders = [Path(source.path) for source in context.runtime.config_sources if source.schema == "file"]
    used: list[Used] = []
    for item in listed:
        path = next((found for folder in folders if (found := folder / f"{item.config_path}.yaml").is_file()), None)
        if path is not None:
            used.append(Used(path, (item.package or "").removeprefix("_global_").lstrip(".")))
    return tuple(used)


def plain(config: DictConfig) -> dict[str, Any]:
    """A config as dicts and lists, references as they are written."""
    return dict(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]


def unknown_key_of(error: BaseException) -> str:
    """The dotted key that a config has not, where this is what an error says."""
    cause = error.__cause__
    return str(cause.full_key or "") if isinstance(cause, ConfigAttributeError | ConfigKeyError) else ""


def _leads_to(override: str, key: str) -> bool:
    """Whether an override is what asks for a key.

    >>> [_leads_to(override, "model.hidden") for override in ("model.hidden=[8]", "model={hidden: 8}", "model=deep")]
    [True, True, False]
    """
    name, value = override_key(override).replace("/", "."), override.partition("=")[2]
    choice = name in groups() and not value.startswith("{")
    return name == key.replace("/", ".") or name.startswith(f"{key}.") or (not choice and key.startswith(f"{name}."))


def _single(overrides: Sequence[str]) -> list[str]:
    """Without sweeps: the first value of each."""
    single: list[str] = []
    for parsed in OverridesParser.create().parse_overrides(list(overrides)):
        if parsed.is_discrete_sweep():
            single.append(f"{parsed.get_key_element()}={next(iter(parsed.sweep_string_iterator()), '')}")
        elif not parsed.is_sweep_override():
            single.append(str(parsed.input_line))
    return single


def sweeping(arguments: Arguments) -> str:
    """The first override that has several values, or nothing; one that cannot be read is none."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments.overrides))
    except HydraException:
        return ""
    return next((str(override.input_line) for override in parsed if override.is_sweep_override()), "")


def _search_path(folder: Path | None) -> list[str]:
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    return [] if folder is None else [f"hydra.searchpath=['file://{quoted}']"]
