"""The path that crop_video is compared with: through its real server it shows what crop_video shows."""

import sys
from pathlib import Path

import numpy as np
import pytest
from verl.tools.tool_registry import load_all_tools

from longvt_plugins.registry import packaged_path
from longvt_plugins.testing.videos import read_numbers, write_video

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(BENCHMARKS)])
    (theirs,) = load_all_tools(str(BENCHMARKS / "mcp_crop_tool.yaml"), None)
    (ours,) = load_all_tools(packaged_path("recipes/rl/tools/crop_video_small.yaml"), None)
    return theirs, ours


async def crop(tool, video: Path, start_s: float, end_s: float):
    instance, _ = await tool.create(create_kwargs={"videos": [str(video)]})
    response, _, details = await tool.execute(instance, {"start_time": start_s, "end_time": end_s})
    await tool.release(instance)
    return response, details["outcome"]


async def test_both_paths_are_the_same_tool_to_a_policy(tools, tmp_path):
    theirs, ours = tools
    assert theirs.tool_schema == ours.tool_schema
    video = write_video(tmp_path / "numbers.mp4", frames=200, fps=10, size=(112, 112))
    (old, old_outcome), (new, new_outcome) = [await crop(tool, video, 5.0, 7.0) for tool in (theirs, ours)]
    assert old_outcome.status == new_outcome.status == "ok"
    assert [image.size for image in old.image] == [image.size for image in new.image]
    numbers = read_numbers(np.stack([np.asarray(image) for image in old.image]))
    assert numbers[0] == 50 and numbers[-1] == 70 and numbers == sorted(numbers)
    assert old_outcome.span_s == new_outcome.span_s == (5.0, 7.0)

    refused, outcome = await crop(theirs, video, 15.0, 30.0)
    assert outcome.status == "refused" and not refused.image
    assert "past the end" in outcome.reply
    # The kept server answers the next call.
    assert (await crop(theirs, video, 1.0, 3.0))[1].status == "ok"
