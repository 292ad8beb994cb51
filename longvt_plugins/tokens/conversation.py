"""A trajectory's record -> the messages it was: what a template renders again, a viewer shows, SFT learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from longvt_plugins.types import Transcript

from .profiles import MediaProfile


def messages_of(
    prompt: Sequence[Mapping[str, Any]], transcript: Transcript, profile: MediaProfile
) -> list[dict[str, Any]]:
    """The conversation, frames by reference.

    Args:
        prompt: messages of the prompt.
        profile: that of the transcript.
    """
    messages = [dict(message) for message in prompt]
    for number, turn in enumerate(transcript.turns):
        if turn.role == "assistant":
            messages.append({"role": "assistant", "content": turn.text})
            continue
        outcomes = [record.outcome for record in transcript.calls if record.turn == number - 1]
        messages += [{"role": "tool", "content": profile.crop_content(outcome)} for outcome in outcomes]
    return messages
