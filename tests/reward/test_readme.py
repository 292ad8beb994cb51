"""The first example of the reward's page runs as it stands there."""

import re
import textwrap
from pathlib import Path

import longvt_plugins.reward
from longvt_plugins.testing.judge_server import JudgeServer

PAGE = Path(longvt_plugins.reward.__file__).parent / "README.md"
CALL = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 10, "end_time": 12}}</tool_call>'
MESSAGES = [
    {"role": "assistant", "content": CALL},
    {"role": "tool", "content": "4 frames"},
    {"role": "assistant", "content": "<answer>scarlet</answer>"},
]


async def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code, *_) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    lines[-1] = f"return {lines[-1]}"
    names: dict = {"messages": MESSAGES}
    with JudgeServer(score=lambda *_: 1.0) as server:
        body = textwrap.indent("\n".join(lines).replace("http://judge:8000/v1", server.url), "    ")
        exec(f"async def example(messages):\n{body}", names)
        record = await names["example"](MESSAGES)
    assert record.acc == 1.0 and record.crops_ok == 1 and record.decided_by == "judge"
