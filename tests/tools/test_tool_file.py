"""verl's tool configuration is read once, as verl reads it."""

import pytest
import yaml
from verl.tools.tool_registry import load_all_tools

from longvt_plugins.errors import ConfigError
from longvt_plugins.tools.tool_file import PACKAGED, crop_tool, read_schemas, read_tools

CROP = yaml.safe_load(PACKAGED.read_text())["tools"][0]
OWN_SCHEMA = {"class_name": "somewhere.OtherTool", "config": {"type": "native"}}


@pytest.fixture
def written(tmp_path):
    def write(content) -> str:
        path = tmp_path / "tools.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


def test_the_packaged_file_as_verl_takes_it():
    (of_verl,) = load_all_tools(str(PACKAGED), None)
    tool = crop_tool(PACKAGED)
    assert tool.name == of_verl.name == "crop_video"
    assert tool.config == of_verl.config and tool.crop == of_verl.options
    assert read_schemas(PACKAGED) == [of_verl.tool_schema.model_dump(exclude_unset=True, exclude_none=True)]


def test_what_the_environment_says_is_filled_in(written, monkeypatch):
    path = written({"tools": [{**CROP, "config": {"type": "native", "max_frames": "${oc.decode:${oc.env:FRAMES,9}}"}}]})
    assert crop_tool(path).crop.policy.max_frames == 9
    monkeypatch.setenv("FRAMES", "7")
    assert crop_tool(path).crop.policy.max_frames == load_all_tools(path, None)[0].options.policy.max_frames == 7


@pytest.mark.parametrize(
    "content",
    [
        "",
        "tools: [",
        "- a\n- b\n",
        {"tool": [CROP]},
        {"tools": 7},
        {"tools": ["crop_video"]},
        {"tools": [{"class_name": CROP["class_name"], "config": CROP["config"]}]},
        {"tools": [{**CROP, "config": 7}]},
        {"tools": [{**CROP, "tool_schema": {"function": 7}}]},
        {"tools": [{**CROP, "config": {"fps": "${oc.env:LONGVT_NOT_SET}"}}]},
    ],
)
def test_what_is_no_tool_configuration_is_refused(written, content):
    with pytest.raises(ConfigError, match="is not a tool configuration"):
        read_tools(written(content))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a tool configuration \(FileNotFoundError"):
        read_tools(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("tools", [[], [OWN_SCHEMA], [CROP, OWN_SCHEMA], [CROP, CROP]])
def test_where_only_crop_video_will_do(written, tools):
    path = written({"tools": tools})
    assert len(read_tools(path)) == len(tools)
    with pytest.raises(ConfigError, match="must hold crop_video alone"):
        crop_tool(path)


def test_a_schema_that_stands_elsewhere_cannot_be_shown(written):
    with pytest.raises(ConfigError, match=r"has no tool_schema for somewhere\.OtherTool"):
        read_schemas(written({"tools": [CROP, OWN_SCHEMA]}))
