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


def test_thoughts_can_be_required():
    assert not follows_format(transcript("<answer>red</answer>"), think="required")
    assert not follows_format(transcript(CALL, ANSWER), think="required")
    assert follows_format(transcript(f"<think>a</think>{CALL}{CALL}", ANSWER), think="required")


@pytest.mark.parametrize(
    "text",
    ["<tool_call></tool_call>" * 2000 + "x", "<think>" * 5000, "<tool_call>" * 5000, "<think></think>" * 3000 + CALL],
)
def test_no_text_makes_the_match_explode(text):
    """A match that backtracks over elements would not end within this test's life."""
    assert not follows_format(transcript(text, ANSWER))
    assert not follows_format(transcript(text))
