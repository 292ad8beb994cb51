"""SFT recipes for lmms-engine before they run: keys, our options, settings that would go silently wrong, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import yaml
from omegaconf import DictConfig, OmegaConf

from longvt_plugins.errors import LongVTError
from longvt_plugins.tokens.budget import patch_of

from .checks import is_local, missing_file, unresolved_values
from .compose import RECIPES, compose_leniently, compose_sft
from .finding import Finding
from .keys import added_keys, suggestion

ADDITIONS = frozenset({"dataset_config.extra_kwargs", "trainer_args.fsdp_config"})
"""What lmms-engine hands on whole, with all below it."""
PROCESSORS = {
    "longvt_qwen2_5_vl": {"patch_size": 14, "size": {"shortest_edge": 3136, "longest_edge": 12_845_056}},
    "longvt_qwen3_vl": {"patch_size": 16, "size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}},
}
"""Our processors, and what the published models that they are for say of pictures."""


def is_sft(name: str) -> bool:
    """Whether a recipe is lmms-engine's: one of ours for SFT, or a file that says so or inherits one."""
    if not name.endswith(".yaml"):
        return (RECIPES / "sft" / f"{name}.yaml").is_file()
    try:
        content = yaml.safe_load(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    if not isinstance(content, dict):
        return False
    inherits = [entry for entry in content.get("defaults") or () if isinstance(entry, str) and entry != "_self_"]
    return "dataset_config" in content or "default_config" in inherits or any(map(is_sft, inherits))


def check_sft(name: str, overrides: Sequence[str] = (), files: bool = True) -> list[Finding]:
    """What is wrong with an SFT recipe.

    Raises:
        ConfigError: it does not compose even without overrides.
    """
    base = compose_sft("default_config")
    recipe, found = compose_leniently(name, overrides, base, compose_sft, _refused)
    found += [_unknown(key, base) for key in added_keys(recipe, base, additions=ADDITIONS)]
    broken = unresolved_values(recipe)
    return found + (broken or [*_settings(recipe), *(_files(recipe) if files else ())])


def _refused(override: str, key: str, base: DictConfig) -> Finding:
    if any(key.startswith(f"{known}.") for known in ADDITIONS):
        return Finding("needs-plus", override, "the recipe does not have this key, and it is read", f"+{override}")
    return _unknown(key, base)


def _unknown(key: str, base: DictConfig) -> Finding:
    return Finding("unknown-key", key, "lmms-engine does not know this key", suggestion(key, base))


def _settings(recipe: DictConfig) -> Iterator[Finding]:
    from longvt_plugins.datasets.lmms.options import SFTOptions, refuse_silently_wrong

    plain = OmegaConf.to_container(recipe, resolve=True)
    data = SimpleNamespace(**plain["dataset_config"])
    args, processor = SimpleNamespace(**plain["trainer_args"]), data.processor_config or {}
    kind = processor.get("processor_type")
    if data.dataset_type != "longvt":
        what, why = f"dataset_config.dataset_type={data.dataset_type}", "is not this package's: nothing else is checked"
        yield Finding("dataset-type", what, why, "Set it to longvt.")
        return
    if kind not in PROCESSORS:
        what = f"dataset_config.processor_config.processor_type={kind}"
        yield Finding("processor-type", what, f"known are {', '.join(PROCESSORS)}", "Choose the model's.")
        return
    checks = {
        "sft-setting": lambda: refuse_silently_wrong(
            SimpleNamespace(dataset_config=data, trainer_type=plain["trainer_type"], trainer_args=args)
        ),
        "dataset-option": lambda: SFTOptions.of(data, image_processor(kind, processor.get("processor_name"))),
    }
    for name, check in checks.items():
        try:
            check()
        except LongVTError as error:
            yield Finding.of(name, error)


def image_processor(kind: str, checkpoint: str | None) -> SimpleNamespace:
    """What frames must suit. A local checkpoint may take smaller ones; its own bounds hold when the run starts."""
    processor = SimpleNamespace(merge_size=2, **PROCESSORS[kind])
    if is_local(checkpoint or ""):
        processor.size = processor.size | {"shortest_edge": patch_of(processor) ** 2}
    return processor


def _files(recipe: DictConfig) -> Iterator[Finding]:
    data, model = recipe.dataset_config, (recipe.get("model_config") or {}).get("load_from_pretrained_path")
    paths = {
        "model_config.load_from_pretrained_path": model,
        "dataset_config.processor_config.processor_name": data.processor_config.get("processor_name"),
    }
    for key, path in paths.items():
        if path and is_local(path) and not Path(path).expanduser().joinpath("config.json").is_file():
            yield missing_file(f"{key}={path}", "a checkpoint with its config.json")
    entries = data.datasets or ()
    if not entries and not data.dataset_path:
        yield Finding("no-data", "dataset_config.datasets", "is empty", "Name the files, or dataset_path.")
    for number, entry in enumerate(entries):
        if not Path(str(entry.get("path"))).expanduser().is_file():
            yield missing_file(f"dataset_config.datasets[{number}].path={entry.get('path')}", "data")
        folder = entry.get("data_folder")
        if folder and not Path(folder).expanduser().is_dir():
            yield missing_file(f"dataset_config.datasets[{number}].data_folder={folder}", "the folder of its media")
