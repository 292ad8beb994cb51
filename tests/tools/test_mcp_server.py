"""The tool as an MCP server: only named videos, only protocol on standard output, nothing heavy loaded."""

import base64
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mcp")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.memory import create_connected_server_and_client_session

from longvt_plugins.errors import ConfigError, ToolCallError
from longvt_plugins.testing.videos import read_numbers
from longvt_plugins.tools.crop_video import CropOptions
from longvt_plugins.tools.executor import CropExecutor
from longvt_plugins.tools.mcp_server import allowed_video, main, server


def pictures(result) -> np.ndarray:
    images = [block for block in result.content if block.type == "image"]
    assert all(image.mimeType == "image/png" for image in images)
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(image.data)))) for image in images])


@pytest.fixture
def root(good, tmp_path):
    directory = tmp_path / "videos"
    directory.mkdir()
    (directory / "v.mp4").write_bytes(good["h264"].read_bytes())
    (tmp_path / "secret.mp4").write_bytes(good["h264"].read_bytes())
    (directory / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    return directory


async def test_a_crop_over_the_protocol(root):
    app = server([str(root)], CropOptions(), CropExecutor(workers=1, isolation="thread"))
    async with create_connected_server_and_client_session(app) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "crop_video" and tool.inputSchema["required"] == ["video_path", "start_time", "end_time"]
        result = await client.call_tool(
            "crop_video", {"video_path": str(root / "v.mp4"), "start_time": 1, "end_time": 3}
        )
        assert not result.isError and "Frame times in seconds: 1.50, 2.50." in result.content[0].text
        assert read_numbers(pictures(result)) == [45, 75]
        for arguments, said in [
            ({"video_path": str(root / "out.mp4"), "start_time": 1, "end_time": 3}, "not a video of this server"),
            ({"video_path": "/etc/passwd", "start_time": 1, "end_time": 3}, "not a video of this server"),
            ({"start_time": 1, "end_time": 3}, "not a video of this server"),
            ({"video_path": str(root / "v.mp4"), "start_time": 3, "end_time": 1}, "end_time must be greater"),
            ({"video_path": str(root / "v.mp4"), "start_time": "x", "end_time": 1}, "must be a finite number"),
            ({"video_path": str(root / "gone.mp4"), "start_time": 0, "end_time": 1}, "cannot be read"),
        ]:
            result = await client.call_tool("crop_video", arguments)
            assert result.isError and said in result.content[0].text and len(result.content) == 1


async def test_as_a_process(root):
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "longvt_plugins.tools.mcp_server", str(root)], env=environment
    )
    async with stdio_client(command) as streams, ClientSession(*streams) as client:
        await client.initialize()
        result = await client.call_tool(
            "crop_video", {"video_path": str(root / "v.mp4"), "start_time": 1, "end_time": 3}
        )
        assert read_numbers(pictures(result)) == [45, 75]


def test_standard_output_carries_messages_alone(root, good, tmp_path):
    (root / "v.mkv").write_bytes(good["late_mkv"].read_bytes())
    (tmp_path / "sitecustomize.py").write_text(
        "import av, os\nreal = av.open\ndef noisy(*args, **options):\n"
        "    print('noise', flush=True)\n    os.write(1, b'more noise')\n    return real(*args, **options)\n"
        "av.open = noisy\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    hello = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    arguments = {"video_path": str(root / "v.mkv"), "start_time": 1, "end_time": 3}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "crop_video", "arguments": arguments}},
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "longvt_plugins.tools.mcp_server", str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    process.stdin.write("".join(json.dumps(message) + "\n" for message in messages))
    process.stdin.flush()
    replies = [json.loads(process.stdout.readline()) for _ in range(2)]
    rest, errors = process.communicate()
    assert [reply["id"] for reply in replies] == [1, 2] and rest == ""
    assert not replies[1]["result"]["isError"]
    assert "noise" in errors and "more noise" in errors


def test_nothing_heavy_is_imported():
    code = "import sys, longvt_plugins.tools.mcp_server; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "verl", "cv2", "decord", "torchcodec", "transformers"} & set(loaded)


@pytest.mark.parametrize("named", [None, 7, "", "\0", "/etc/passwd", "x" * 5000, ["v.mp4"], "../secret.mp4", "/"])
def test_other_files_are_refused(root, named, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(ToolCallError):
        allowed_video(named, [str(root)])


def test_own_files_are_allowed(root, monkeypatch):
    monkeypatch.chdir(root)
    assert allowed_video("v.mp4", [str(root)]) == str(root / "v.mp4")
    assert allowed_video(str(root / "v.mp4"), [str(root / "v.mp4")]) == str(root / "v.mp4")
    with pytest.raises(ToolCallError):
        allowed_video(str(root) + "x", [str(root)])


def test_a_server_without_videos_does_not_start(monkeypatch):
    monkeypatch.delenv("LONGVT_VIDEO_ROOT", raising=False)
    for roots in ([], ["/nowhere"]):
        with pytest.raises(ConfigError, match="videos or directories that exist"):
            main(roots)
