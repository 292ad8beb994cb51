"""``longvt_agent``: verl's ToolAgentLoop, driving an ``Episode``. The only file that knows ToolAgentLoop.

Generation and tokens stay verl's (server client, continuous-token builder, masks). Written here is what differs:

* every call comes back, in order: those that cannot be read with what to fix, those beyond a limit with which;
* a crop's tokens and frames are planned to what is left, and a reply is added whole or not at all;
* a vision placeholder that the policy writes ends its trajectory before it, since no frame belongs to it;
* a trajectory without a token of the policy has one that is masked out, since verl would take the prompt for it;
* a fault ends its trajectory, never the group (verl would fail the prompt and still train on the siblings).

The transcript leaves in ``AgentLoopOutput.extra_fields["longvt"]``, which reaches the reward as
``extra_info["longvt"]`` and the trainer ``longvt_sync`` with the trajectory.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop
from verl.experimental.agent_loop.tool_parser import FunctionCall
from verl.utils.profiler import simple_timer
from verl.utils.tokenizer import get_processor_token_id

from longvt_plugins.episode import Episode, Step
from longvt_plugins.errors import NoRoomError, PromptTooLongError
from longvt_plugins.tokens.media import PLACEHOLDER, media_of
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.tools.crop_video import fault_outcome
from longvt_plugins.tools.options import Room
from longvt_plugins.tools.verl_tool import ROOM_KEY, CropVideoTool
from longvt_plugins.types import CropCall, CropOutcome, EndedBy, Fault

from .options import REPLY_TOKENS, LoopOptions, check_trainer

logger = logging.getLogger(__name__)


class TextParser:
    """Stands where verl's tool parser stands: calls are read by the episode, which loses none."""

    stop_token_ids: tuple[int, ...] = ()

    async def extract_tool_calls(self, response_ids, tools=None) -> tuple[str, list]:
        return "", []


@register("longvt_agent")
class LongVTAgentLoop(ToolAgentLoop):
    """One instance per trajectory (verl instantiates the loop for each)."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        check_trainer(self.config.trainer)
        self.options = LoopOptions.of(self.rollout_config, self.response_length)
        self.profile = profile_named((self.data_config.get("longvt") or {}).get("profile"))
        # The template may open the policy's turns for it; the record holds them whole.
        self.opening = "<think>" if self.apply_chat_template_kwargs.get("think") else ""
        self.tool_parser = TextParser()
        self.max_model_len = self.rollout_config.get("max_model_len") or self.prompt_length + self.response_length
        # The episode counts turns, and says so before the last one.
        self.max_assistant_turns = self.max_user_turns = None
        self.placeholders = {
            get_processor_token_id(self.processor, kind) for kind in ("image", "video") if self.processor
        } - {None}

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        selected = (kwargs.get("extra_info") or {}).get("tool_selection")
        self.episode = Episode(
            limits=self.options.limits,
            tools=[name for name in self.tools if not selected or name in selected],
            overview=media_of(kwargs["raw_prompt"]),
            media_profile=self.profile.name,
        )
        self.label_tokens = self.profile.label_tokens(kwargs["raw_prompt"])
        self.step = Step(ended_by="no_answer")
        kwargs["tools_kwargs"] = kwargs.get("tools_kwargs") or {}
        try:
            output = await super().run(sampling_params, **kwargs)
            transcript = self.episode.finish(self.step.ended_by)
        except Exception as error:
            logger.exception("longvt_agent: the trajectory of sample %s is faulted", kwargs.get("index"))
            output = self._faulted_output(kwargs)
            transcript = self.episode.finish("fault", Fault.of(error))
        output.extra_fields["longvt"] = transcript.model_dump(mode="json")
        return output

    async def ct_build_initial_tokens(self, *args: Any, **kwargs: Any) -> list[int]:
        try:
            return await super().ct_build_initial_tokens(*args, **kwargs)
        except ValueError as error:
            if "exceeding rollout.prompt_length" not in str(error):
                raise
            raise PromptTooLongError(
                str(error).split(",")[0],
                f"data.max_prompt_length is {self.prompt_length}",
                "Lower data.longvt.overview.max_frames or max_pixels, or raise data.max_prompt_length.",
            ) from error

    async def _handle_generating_state(
        self, agent_data: AgentData, sampling_params: dict[str, Any], ignore_termination: bool = False
    ) -> AgentState:
        room = min(
            self.response_length - len(agent_data.response_mask), self.max_model_len - len(agent_data.prompt_ids)
        )
        await super()._handle_generating_state(agent_data, sampling_params, ignore_termination=True)
        with self._ours():
            # verl cuts the response there at the end: what is cut is neither trained on nor part of the record.
            kept = agent_data.response_ids[:room]
            full = len(kept) == room and (
                len(agent_data.response_ids) > room or kept[-1:] != [self.tokenizer.eos_token_id]
            )
            cut: EndedBy | None = "length_limit" if full else None
            said = self._decode(kept)
            forged = self._forged(kept, said)
            if forged is not None:
                cut, kept, said = "vision_tokens", kept[:forged], self._decode(kept[:forged])
                _drop_last(agent_data, len(agent_data.response_ids) - forged)
            if not agent_data.response_mask:
                self._add_masked(agent_data)
            text = self.opening + said
            agent_data.messages[-1]["content"] = text
            self.step = self.episode.policy_turn(text, len(kept), cut)
        return AgentState.TERMINATED if self.step.ended_by else AgentState.PROCESSING_TOOLS

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _forged(self, ids: Sequence[int], said: str) -> int | None:
        """Index of the token that makes a placeholder of frames, by itself or as the end of a spelled one, which verl
        decodes and its processor counts.

        Args:
            said: ``ids``, decoded.
        """
        whole = next((n for n, token in enumerate(ids) if token in self.placeholders), len(ids))
        if PLACEHOLDER.search(said):
            whole = bisect_left(range(whole), True, key=lambda n: bool(PLACEHOLDER.search(self._decode(ids[: n + 1]))))
        return whole if whole < len(ids) else None

    async def _handle_processing_tools_state(self, agent_data: AgentData) -> AgentState:
        with self._ours():
            room = self._room(agent_data)
        with simple_timer("tool_calls", agent_data.metrics):
            results = await asyncio.gather(
                *(self._execute(p.call, p.refusal, room, agent_data) for p in self.step.calls)
            )
        outcomes, images = [outcome for outcome, _ in results], [images for _, images in results]
        full = fault_outcome(NoRoomError("this reply", "does not fit", "Answer."))
        instead = [full if outcome.status in ("ok", "foreign") else outcome for outcome in outcomes]
        for replies, shown in ((outcomes, images), (instead, [()] * len(outcomes))):
            replies = self.episode.reply(replies)
            if await self._add(agent_data, replies, shown):
                return AgentState.GENERATING
        self.episode.added(replies, tokens=None)
        self.step = Step(ended_by="length_limit")
        return AgentState.TERMINATED

    async def _execute(
        self, call: CropCall, refusal: CropOutcome | None, room: Room, agent_data: AgentData
    ) -> tuple[CropOutcome, list[Image.Image]]:
        if refusal is not None:
            return refusal, []
        function = FunctionCall(name=call.name, arguments=json.dumps(call.arguments))
        tools_kwargs = agent_data.tools_kwargs
        if isinstance(self.tools[call.name], CropVideoTool):
            given = (tools_kwargs.get(call.name) or {}).get("create_kwargs") or {}
            tools_kwargs = {call.name: {"create_kwargs": {**given, ROOM_KEY: room}}}
        started = time.monotonic()
        response, reward, details = await self._call_tool(function, tools_kwargs, agent_data)
        agent_data.tool_rewards.append(reward or 0.0)
        outcome = details.get("outcome")
        if not isinstance(outcome, CropOutcome):
            # Another tool answered, or verl in its place: unknown tool, or an exception in it.
            outcome = CropOutcome(status="foreign", reply=response.text or "", seconds=time.monotonic() - started)
        return outcome, [image for image in response.image or () if image is not None]

    async def _add(self, agent_data: AgentData, replies: Sequence[CropOutcome], images: Sequence[Sequence]) -> bool:
        """Add replies and their frames to the conversation, all or nothing. Whether they fit."""
        with self._ours():
            previous = agent_data.messages
            messages = [*previous, *map(self._message, replies, images)]
        result, mask, log_probs = await self.ct_merge_context_msg(
            previous,
            messages,
            agent_data.prompt_ids,
            agent_data.response_mask,
            agent_data.response_logprobs or None,
            tools=getattr(agent_data, "_active_tool_schemas", self.tool_schemas),
        )
        if len(mask) >= self.response_length or len(result.token_ids) >= self.max_model_len:
            return False
        with self._ours():
            self.episode.added(replies, len(mask) - len(agent_data.response_mask))
            agent_data.messages, agent_data.prompt_ids, agent_data.response_mask = messages, result.token_ids, mask
            if agent_data.response_logprobs:
                agent_data.response_logprobs = log_probs
            shown = [image for pictures in images for image in pictures]
            if shown:
                agent_data.image_data = [*(agent_data.image_data or ()), *shown]
            agent_data.user_turns += 1
        return True

    def _message(self, reply: CropOutcome, images: Sequence[Image.Image]) -> dict[str, Any]:
        """A tool's message as verl's builder takes it: frames as pictures."""
        if reply.media is None:
            pictures = [{"type": "image", "image": image} for image in images]
            return {"role": "tool", "content": [*pictures, {"type": "text", "text": reply.text}]}
        pictures = iter(images)
        content = self.profile.crop_content(reply)
        return {
            "role": "tool",
            "content": [{"type": "image", "image": next(pictures)} if p["type"] == "image" else p for p in content],
        }

    def _room(self, agent_data: AgentData) -> Room:
        """What each crop of this turn may add, so that a turn to answer is left."""
        calls = max(1, self.step.executable)
        left = min(
            self.response_length - len(agent_data.response_mask), self.max_model_len - len(agent_data.prompt_ids)
        )
        left -= self.options.answer_tokens + len(self.step.calls) * REPLY_TOKENS
        frames = self.episode.frames_left
        if self.rollout_config.get("limit_images"):
            frames = min(frames, self.rollout_config.limit_images - len(agent_data.image_data or ()))
        return Room.share(calls, left, frames, self.label_tokens)

    @contextmanager
    def _ours(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.episode.plugin_s += time.perf_counter() - started

    def _add_masked(self, agent_data: AgentData) -> None:
        agent_data.prompt_ids = [*agent_data.prompt_ids, self.tokenizer.eos_token_id]
        agent_data.response_mask = [0]
        if self.rollout_config.calculate_log_probs:
            agent_data.response_logprobs = [0.0]

    def _faulted_output(self, kwargs: dict[str, Any]) -> AgentLoopOutput:
        """The smallest trajectory verl accepts: one token, masked out. ``longvt_sync`` excludes it."""
        token = self.tokenizer.eos_token_id
        step = int(kwargs.get("global_steps", 0))
        return AgentLoopOutput(
            prompt_ids=[token],
            response_ids=[token],
            response_mask=[0],
            response_logprobs=[0.0] if self.rollout_config.calculate_log_probs else None,
            multi_modal_data={},
            num_turns=0,
            metrics=AgentLoopMetrics(),
            extra_fields={
                "min_global_steps": step,
                "max_global_steps": step,
                "turn_scores": [],
                "tool_rewards": [],
            },
        )


def _drop_last(agent_data: AgentData, tokens: int) -> None:
    """Take the last ``tokens`` of a generation back."""
    if not tokens:
        return
    for name in ("prompt_ids", "response_mask", "response_logprobs"):
        kept = getattr(agent_data, name)
        setattr(agent_data, name, kept[:-tokens] if kept else kept)
