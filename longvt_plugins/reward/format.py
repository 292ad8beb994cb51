"""Does a trajectory keep the form: thoughts, at most calls between them, and one answer at the very end?

The three forms are a trajectory without calls, with one call a turn, and with several calls in a turn.
"""

from __future__ import annotations

import re
from typing import Literal

from longvt_plugins.types import Transcript

Think = Literal["optional", "required"]

# Tempered, so that no text makes the match backtrack over several elements.
_THINK = r"<think>(?:(?!</?think>).)*</think>"
_CALLS = r"(?:<tool_call>(?:(?!</?tool_call>).)*</tool_call>\s*)+"
_ANSWER = r"<answer>(?:(?!</?answer>).)*</answer>\s*"
_CALLING = {
    "optional": re.compile(rf"\s*(?:{_THINK}\s*)?{_CALLS}", re.DOTALL),
    "required": re.compile(rf"\s*{_THINK}\s*{_CALLS}", re.DOTALL),
}
_ANSWERING = {
    "optional": re.compile(rf"\s*(?:{_THINK}\s*)?{_ANSWER}", re.DOTALL),
    "required": re.compile(rf"\s*{_THINK}\s*{_ANSWER}", re.DOTALL),
}


def follows_format(transcript: Transcript, think: Think = "optional") -> bool:
    """True when every assistant turn but the last only thinks and calls, the last thinks and answers, and
    no turn of the policy forges a tool response.

    Args:
        think: whether a turn must begin with its thoughts.
    """
    turns = [turn.text for turn in transcript.turns if turn.role == "assistant"]
    if not turns or any("<tool_response>" in text for text in turns):
        return False
    *calling, answering = turns
    if answering.count("<answer>") != 1 or not _ANSWERING[think].fullmatch(answering):
        return False
    return all(_CALLING[think].fullmatch(text) and "<answer>" not in text for text in calling)
