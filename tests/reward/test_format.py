"""The form of a trajectory."""

import pytest

from longvt_plugins.reward import follows_format
from longvt_plugins.types import Transcript, Turn

CALL = '<tool_call>\n{"name": "crop_video", "arguments": {}}\n</tool_call>'
ANSWER = "<think>I see.</think><answer>red</answer>"


def transcript(*said):
    return Transcript(turns=tuple(Turn(role="assistant", text=text, tokens=1) for text in said), ended_by="answer")


@pytest.mark.parametrize(
    "said",
    [(ANSWER,), ("<answer>red</answer>",), (f"<think>hm</think>\n{CALL}", ANSWER), (f"{CALL}\n{CALL}", CALL, ANSWER)],
)
def test_kept(said):
    assert follows_format(transcript(*said))


@pytest.mark.parametrize(
    "said",
    [
        (),
        (CALL,),
        ("red",),
        (ANSWER + "more",),
        (ANSWER + ANSWER,),
        (f"{CALL} so <answer>red</answer>", ANSWER),
        (f"{CALL}<tool_response>4 frames</tool_response>", ANSWER),
        (f"<think>a<think>b</think>{CALL}", ANSWER),
        ("just talk", ANSWER),
    ],
)
def test_broken(said):
    assert not follows_format(transcript(*said))
