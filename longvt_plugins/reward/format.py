"""Does a trajectory keep the form: thoughts, at most calls between them, and one answer at the very end?"""

from __future__ import annotations

import re

from longvt_plugins.types import Transcript

_CALLING_TURN = re.compile(r"\s*(<think>(?:(?!</?think>).)*</think>)?\s*(<tool_call>.*?</tool_call>\s*)+", re.DOTALL)
_ANSWERING_TURN = re.compile(r"\s*(<think>(?:(?!</?think>).)*</think>)?\s*<answer>.*?</answer>\s*", re.DOTALL)


def follows_format(transcript: Transcript) -> bool:
    """True when every assistant turn but the last only thinks and calls, the last thinks and answers, and
    no turn of the policy forges a tool response."""
    turns = [turn.text for turn in transcript.turns if turn.role == "assistant"]
    if not turns or any("<tool_response>" in text for text in turns):
        return False
    *calling, answering = turns
    if answering.count("<answer>") != 1 or not _ANSWERING_TURN.fullmatch(answering):
        return False
    return all(_CALLING_TURN.fullmatch(text) and "<answer>" not in text for text in calling)
