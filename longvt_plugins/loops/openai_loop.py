"""The same episode over any OpenAI-compatible server: evaluation, trace generation, a question asked by hand.

Same rules, same replies, same frames, same budget as ``longvt_agent``, and the same chat template if the server was
started with it: then one recorded conversation has the same token ids here and there. The policy's words come
back as text and are read here, so nothing a server's tool parser drops is lost; a server that insists on parsing
(``native_calls``) works too, at the price of that equality. Frames travel as PNG, losslessly.

A fault of the server or of a video ends the conversation as ``fault``. Nothing is raised, except when cancelled.
"""

from __future__ import annotations

import asyncio
import base64
import io
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from longvt_plugins.episode import Episode, write_call
from longvt_plugins.errors import ProfileError
from longvt_plugins.tokens.media import PLACEHOLDER, media_of, pixels_of
from longvt_plugins.tokens.profiles import MediaProfile
from longvt_plugins.tools.crop_video import text_tokens
from longvt_plugins.tools.executor import execute
from longvt_plugins.tools.options import CropOptions, Room
from longvt_plugins.types import CropOutcome, EndedBy, Fault, TokenEntropy, Transcript

from .options import REPLY_TOKENS, LoopOptions

if TYPE_CHECKING:
    import numpy as np
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

_TOO_LONG = re.compile(r"context[ _]length|maximum model length")
"""OpenAI says it by a code, vLLM (``renderers/params.py``, ``v1/engine/input_processor.py``) and SGLang in words."""
"""However the policy spelled it, sent back as text it is one, and no frame belongs to it."""


@dataclass(frozen=True)
class Conversation:
    transcript: Transcript
    messages: list[dict[str, Any]]
    """As they went to and fro, frames by reference."""
    entropy: TokenEntropy | None = None
    """Where ``sampling`` asks for log-probabilities (``logprobs``, ``top_logprobs``) and the server gives them."""


@dataclass(frozen=True)
class OpenAILoop:
    """One policy behind a server.

    Attributes:
        client: an ``openai.AsyncOpenAI``; its retries and timeout are the server's.
        model: name under which the server serves the policy.
        options: limits, and the tokens kept for the answer.
        response_length: tokens after the prompt, the policy's and the tools', at most.
        tools: OpenAI schemas of ``crop_video`` (one) or nothing.
        crop: how it crops.
        profile: how frames stand in messages.
        sampling: further arguments of each request (``temperature``, ``seed``, ``extra_body``, ...).
        max_images: that the server takes in one conversation; ``None``: any number.
        opening: what the served template writes at the start of each of the policy's turns (``<think>``, or nothing).
        native_calls: let the server parse tool calls (``tool_choice="auto"``).
        wire: makes of the messages, frames by reference, what is sent; ``None``: ``wire_messages``. The seam for
            showing the policy other pixels than the videos' (``evaluation.blank``). It runs in a thread.
    """

    client: AsyncOpenAI
    model: str
    options: LoopOptions
    response_length: int
    tools: Sequence[Mapping[str, Any]]
    crop: CropOptions
    profile: MediaProfile
    sampling: Mapping[str, Any] = field(default_factory=dict)
    max_images: int | None = None
    opening: str = ""
    native_calls: bool = False
    wire: Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]] | None = None

    def __post_init__(self):
        if self.profile.video_tokens:
            raise ProfileError(
                f"media profile {self.profile.name}",
                "cannot be served over HTTP: the protocol has no place for the times of a video's frames",
                "Use frames-time, or evaluate inside verl.",
            )

    async def run(self, messages: Sequence[Mapping[str, Any]], videos: Sequence[str]) -> Conversation:
        """Converse until the policy answers or a limit ends it.

        Args:
            messages: the prompt, frames by reference (``MediaProfile.overview_content``).
            videos: paths of the question's own videos, which ``crop_video`` may look at.
        """
        state = _State(
            episode=Episode(
                self.options.limits,
                tools=[tool["function"]["name"] for tool in self.tools],
                overview=media_of(messages),
                media_profile=self.profile.name,
            ),
            messages=[dict(message) for message in messages],
            images=sum(len(ref.times_s) for ref in media_of(messages)),
        )
        try:
            ended_by, fault = await self._converse(state, videos), None
        except Exception as error:  # a fault is the conversation's end, not the caller's
            ended_by, fault = "fault", Fault.of(error)
        return Conversation(state.episode.finish(ended_by, fault), state.messages, state.entropy)

    async def _converse(self, state: _State, videos: Sequence[str]) -> EndedBy:
        while True:
            text, cut = await self._generate(state)
            started = time.perf_counter()
            state.messages.append({"role": "assistant", "content": text})
            step = state.episode.policy_turn(text, state.last_tokens, cut)
            room = self._room(state, len(step.calls), step.executable)
            state.episode.plugin_s += time.perf_counter() - started
            if step.ended_by:
                return step.ended_by
            crop = replace(self.crop, room=room)
            outcomes = await asyncio.gather(*(_crop(p.call.arguments, p.refusal, videos, crop) for p in step.calls))
            started = time.perf_counter()
            replies = state.episode.reply(outcomes)
            # The server alone could count the text exactly; frames are counted exactly, and the text from above.
            tokens = sum((reply.tokens or text_tokens(reply.reply)) + text_tokens(reply.note) for reply in replies)
            state.episode.added(replies, tokens)
            state.used += tokens
            state.images += sum(len(reply.times_s) for reply in replies)
            state.messages += [{"role": "tool", "content": self.profile.crop_content(reply)} for reply in replies]
            state.episode.plugin_s += time.perf_counter() - started

    async def _generate(self, state: _State) -> tuple[str, EndedBy | None]:
        """The policy's next turn, and why it was cut, if it was."""
        left = self.response_length - state.used
        if left <= 0:
            state.last_tokens = 0
            return "", "length_limit"
        wire = await asyncio.to_thread(self.wire or wire_messages, state.messages)
        tools = (
            {"tools": list(self.tools), "tool_choice": "auto" if self.native_calls else "none"} if self.tools else {}
        )
        reply = await self._request(state, left, model=self.model, messages=wire, **tools, **self.sampling)
        if reply is None:
            state.last_tokens = 0
            return "", "length_limit"
        choice, usage = reply.choices[0], reply.usage
        # JSON may spell one half of a character, which no file takes.
        text = _text_of(choice.message)
        # A server that parses reasoning gives the tag back that its template wrote.
        text = (text if text.startswith(self.opening) else self.opening + text).encode(errors="replace").decode()
        state.last_tokens = usage.completion_tokens if usage else text_tokens(text)
        if usage:
            if state.prompt_tokens is None:
                state.prompt_tokens = usage.prompt_tokens
            state.used = usage.prompt_tokens - state.prompt_tokens + usage.completion_tokens
        else:
            state.used += state.last_tokens
        if choice.logprobs and choice.logprobs.content:
            state.entropy = _entropy(choice.logprobs.content, state.entropy)
        if forged := PLACEHOLDER.search(text):
            return text[: forged.start()], "vision_tokens"
        return text, "length_limit" if choice.finish_reason == "length" else None

    async def _request(self, state: _State, left: int, **request: Any) -> ChatCompletion | None:
        """The server's reply to at most ``left`` tokens, or to what its own context still takes, if that is less:
        text that went to a server and back can be a token longer. ``None``: it takes no more."""
        from openai import BadRequestError

        for bound in ({"max_tokens": left}, {}):
            try:
                return await self.client.chat.completions.create(**request, **bound)
            except BadRequestError as error:
                # A prompt that does not fit with its response is no conversation's length: the server's is too short.
                if state.prompt_tokens is None or not _TOO_LONG.search(f"{error.code} {error}"):
                    raise
        return None

    def _room(self, state: _State, calls: int, executable: int) -> Room:
        left = self.response_length - state.used - self.options.answer_tokens - calls * REPLY_TOKENS
        frames = state.episode.frames_left
        if self.max_images is not None:
            frames = min(frames, self.max_images - state.images)
        return Room.share(executable, left, frames, self.profile.label_tokens(state.messages))


@dataclass
class _State:
    episode: Episode
    messages: list[dict[str, Any]]
    images: int
    used: int = 0
    """Tokens after the prompt."""
    prompt_tokens: int | None = None
    last_tokens: int = 0
    entropy: TokenEntropy | None = None


async def _crop(arguments, refusal: CropOutcome | None, videos: Sequence[str], options: CropOptions) -> CropOutcome:
    return refusal or await execute(arguments, videos, options)


def wire_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages as a server takes them: frames as PNG in data URLs.

    Raises:
        VideoError: a file is gone, has changed, or does not decode.
    """
    return [{**message, "content": _wire_content(message["content"])} for message in messages]


def _wire_content(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    frames = iter(pixels_of([{"content": content}])[0])
    return [
        {"type": "image_url", "image_url": {"url": png_url(next(frames))}} if item["type"] == "image" else item
        for item in content
    ]


def png_url(frame: np.ndarray) -> str:
    """A picture, uint8 ``[height, width, 3]``, as a data URL."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _entropy(tokens: Sequence[Any], before: TokenEntropy | None) -> TokenEntropy:
    """``before`` and the tokens of one more turn (OpenAI's ``logprobs.content``)."""
    listed = [other.logprob for token in tokens for other in token.top_logprobs or ()]
    return TokenEntropy(
        tokens=len(tokens) + (before.tokens if before else 0),
        nats=math.fsum(-token.logprob for token in tokens) + (before.nats if before else 0.0),
        listed_nats=math.fsum(-math.exp(p) * p for p in listed) + (before.listed_nats if before else 0.0),
    )


def _text_of(message: Any) -> str:
    """What the policy wrote, put together again where the server took it apart."""
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    parts = [f"<think>{thought}</think>"] if thought else []
    parts += [message.content] if message.content else []
    parts += [write_call(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return "\n".join(parts)
