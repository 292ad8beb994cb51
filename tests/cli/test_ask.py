"""``longvt ask``: one conversation, shown."""

import json

from longvt_plugins.cli.main import main
from longvt_plugins.testing.chat_server import ChatServer
from longvt_plugins.testing.videos import write_video

CALL = '<tool_call>\n{"name": "crop_video", "arguments": {"start_time": 1, "end_time": 3}}\n</tool_call>'


def ask(video, script, *words):
    with ChatServer(script) as server:
        code = main(["ask", str(video), "Which number?", "--url", server.url, "--model", "policy", *words])
    return code, server


def test_it_is_asked_as_in_an_evaluation_and_shown_turn_by_turn(tmp_path, capsys):
    video = write_video(tmp_path / "v.mp4", 120)
    answer = "<think>Seen.</think><answer>37\x1b[2J</answer>"
    code, server = ask(video, lambda turn, request: CALL if turn == 0 else answer, "--system", "Look closely.")
    said = capsys.readouterr().out
    assert code == 0 and "ended by answer, 1 crops" in said and "\x1b" not in said
    assert said.index("assistant> <tool_call>") < said.index("tool> 2 frames of 1.00 to 3.00 s.") < said.index("37")
    system, user, *_ = server.requests[-1]["messages"]
    assert system["content"] == [{"type": "text", "text": "Look closely."}]
    assert user["content"][-1]["text"].endswith("Which number?")
    assert any(part["type"] == "image_url" for part in user["content"])


def test_a_video_that_is_not_there_is_told(tmp_path, capsys):
    code, server = ask(tmp_path / "missing.mp4", lambda turn, request: "?", "--json")
    told = json.loads(capsys.readouterr().out)
    assert code == 1 and not told["ok"] and told["fault"]["kind"] == "VideoOpenError" and not server.requests
