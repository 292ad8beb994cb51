"""The verl skin of crop_video, through verl's own tool loading."""

import pytest
from verl.tools.tool_registry import load_all_tools

from longvt_plugins.errors import ConfigError, VideoOpenError
from longvt_plugins.registry import packaged_path
from longvt_plugins.tools import CropVideoTool
from longvt_plugins.tools.verl_tool import read_options
from longvt_plugins.video import clip_store


@pytest.fixture(scope="module")
def tool():
    (tool,) = load_all_tools(packaged_path("tools/crop_video.yaml"), None)
    return tool


async def crop(tool, parameters, videos):
    instance, _ = await tool.create(create_kwargs={"videos": videos})
    response, reward, details = await tool.execute(instance, parameters)
    await tool.release(instance)
    return response, reward, details["outcome"]


async def test_frames_come_back_as_images_with_their_times(tool, demo):
    video = str(demo.folder / "data" / "street_0.mp4")
    response, reward, outcome = await crop(tool, {"start_time": 2, "end_time": 6}, [video])
    assert len(response.image) == len(outcome.times_s) == 4 and reward == 0.0
    assert response.image[0].size == outcome.media.size[::-1]
    assert all(f"{time_s:.2f}" in response.text for time_s in outcome.times_s)


async def test_the_policy_cannot_choose_a_file(tool, demo):
    parameters = {"start_time": 0, "end_time": 1, "video_path": "/etc/passwd"}
    video = str(demo.folder / "data" / "street_0.mp4")
    response, _, outcome = await crop(tool, parameters, [video])
    assert outcome.status == "malformed" and response.image is None


async def test_a_missing_video_is_a_failed_call_not_an_exception(tool):
    response, _, outcome = await crop(tool, {"start_time": 0, "end_time": 1}, ["/nowhere/a.mp4"])
    assert outcome.status == "failed" and outcome.error.kind == "VideoOpenError"
    assert "/nowhere" not in response.text, "paths are none of the policy's business"


async def test_frames_that_are_gone_are_a_failed_call_and_name_no_file(tool, demo, monkeypatch):
    def gone(media):
        raise VideoOpenError(media.path, "is gone", "Restore it.")

    monkeypatch.setattr(clip_store, "get", gone)
    video = str(demo.folder / "data" / "street_0.mp4")
    response, _, outcome = await crop(tool, {"start_time": 2, "end_time": 6}, [video])
    assert outcome.status == "failed" and outcome.media is None and response.image is None
    assert response.text == outcome.reply and "street_0" not in response.text


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="known keys"):
        CropVideoTool({"type": "native", "fsp": 2}, None)


def test_every_option_can_be_set_in_the_configuration():
    options = read_options({"type": "native", "fps": 3.0, "finer_than": {"fps": 0.5}, "beyond": "refuse"})
    assert options.policy.fps == 3.0 and options.finer_than.fps == 0.5 and options.beyond == "refuse"
