"""How questions are put: what a recipe says for training, in one YAML file for evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from longvt_plugins.errors import ConfigError
from longvt_plugins.tools.tool_file import PACKAGED, Tool, crop_tool

Mode = Literal["crops", "no-tool", "blank"]
"""``crops``: as trained. ``no-tool``: no tool is offered. ``blank``: crops are black pictures."""

GREEDY = {"temperature": 0.0, "top_p": 1.0, "extra_body": {"top_k": -1, "repetition_penalty": 1.0}}
"""Said in whole: what is missing a vLLM server takes from the checkpoint's ``generation_config.json``, which one stage
has and the next has not."""


class EvaluationOptions(BaseModel):
    """Keys of the file. The defaults are those of the recipes' parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str | None = None
    """Media profile."""
    overview: dict[str, Any] = Field(default_factory=dict)
    """Fields of ``SamplingPolicy``; what is missing is the profile's."""
    tool: str | None = None
    """verl tool configuration of ``crop_video``, beside this file; ``None``: ``tools/crop_video.yaml``."""
    loop: dict[str, Any] = Field(default_factory=dict)
    """As ``rollout.custom.longvt``."""
    response_length: int = Field(4096, gt=0)
    """Tokens after the prompt, the policy's and the tools'."""
    max_images: int | None = None
    """That the server takes in one conversation."""
    opening: str = ""
    """What the served template writes at the start of the policy's turns."""
    native_calls: bool = False
    """Let the server parse tool calls."""
    sampling: Annotated[dict[str, Any], AfterValidator(lambda given: GREEDY | given)] = GREEDY
    """Further arguments of each request; what is missing is that of ``GREEDY``. Its ``extra_body`` is for vLLM and
    SGLang: other servers ignore those keys or refuse the request. ``extra_body: {}`` leaves them out."""
    reward: dict[str, Any] = Field(default_factory=dict)
    """``reward_kwargs``. Without ``judge``, what rules leave open abstains."""


def read_file(path: str | os.PathLike[str] | None) -> tuple[EvaluationOptions, Tool]:
    """Options of a file, and its ``crop_video``; ``None``: the defaults.

    Raises:
        ConfigError: unreadable, a value that refers to nothing, an unknown key, or a tool file with other tools.
    """
    given = {} if path is None else _load(path)
    try:
        options = EvaluationOptions(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(path), str(error), "Correct the file.") from error
    return options, crop_tool(PACKAGED if options.tool is None else Path(path).parent / options.tool)


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The file, with ``${oc.env:NAME,default}`` and references to its own keys resolved."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(str(path), f"cannot be read ({error})", "Correct the file or its path.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(str(path), "must hold a mapping of options", "Correct the file.")
    try:
        return OmegaConf.to_container(OmegaConf.create(dict(content)), resolve=True)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            str(path), f"cannot be computed ({reason})", "Set what it refers to, or correct it."
        ) from error
