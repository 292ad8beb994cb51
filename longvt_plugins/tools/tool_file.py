"""verl's tool configuration (``multi_turn.tool_config_path``): a YAML of tools, taken as verl takes it.

verl reads it in ``verl/tools/tool_registry.py``; ``crop_video.yaml`` beside this file is the one that recipes name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

from .options import CropOptions, read_options

PACKAGED = Path(__file__).with_name("crop_video.yaml")
MALFORMED = (AttributeError, KeyError, TypeError, ValueError)


@dataclass(frozen=True)
class Tool:
    """One tool of the file.

    Attributes:
        class_name: dotted name of its class.
        config: what the class is given.
        tool_schema: the OpenAI function schema that the policy is shown. ``None``: the class has its own.
    """

    class_name: str
    config: dict[str, Any]
    tool_schema: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """By which the policy calls it."""
        return self.tool_schema["function"]["name"]

    @property
    def is_crop(self) -> bool:
        return self.class_name.endswith(".CropVideoTool")

    @property
    def crop(self) -> CropOptions:
        """Of a ``CropVideoTool``.

        Raises:
            ConfigError: an option that the tool would refuse.
        """
        return read_options(self.config)


def read_tools(path: str | os.PathLike[str]) -> list[Tool]:
    """The tools of a file, with ``${oc.env:NAME,default}`` resolved.

    Raises:
        ConfigError: it cannot be read, or is no tool configuration.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        listed = OmegaConf.to_container(OmegaConf.load(path), resolve=True)["tools"]
        return [_tool(entry) for entry in listed]
    except (OSError, *MALFORMED, yaml.YAMLError, OmegaConfBaseException) as error:
        rule = f"is not a tool configuration ({type(error).__name__}: {error})"
        raise ConfigError(str(path), rule, f"Name the YAML that verl is given; {PACKAGED.name} is one.") from error


def crop_tool(path: str | os.PathLike[str]) -> Tool:
    """``crop_video``, the only tool of a file.

    Raises:
        ConfigError: another tool, which only verl can run, or none.
    """
    tools = read_tools(path)
    if len(tools) != 1 or not tools[0].is_crop:
        raise ConfigError(str(path), "must hold crop_video alone", "Name a file with one CropVideoTool.")
    return tools[0]


def read_schemas(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Function schemas of a file's tools, in the form that verl's loop hands to the template.

    Raises:
        ConfigError: no tool configuration, or a tool has no schema there.
    """
    tools = read_tools(path)
    bare = [tool.class_name for tool in tools if tool.tool_schema is None]
    if bare:
        raise ConfigError(str(path), f"has no tool_schema for {', '.join(bare)}", "Write it there.")
    return [tool.tool_schema for tool in tools]


def _tool(entry: Any) -> Tool:
    tool = Tool(str(entry["class_name"]), dict(entry["config"]), entry.get("tool_schema"))
    if tool.is_crop or tool.tool_schema is not None:
        _ = tool.name
    return tool
