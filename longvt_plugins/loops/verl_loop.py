"""``longvt_agent``: verl's ToolAgentLoop, driving an ``Episode``. The only file that knows ToolAgentLoop.

Generation, tokens, masks and parsing stay verl's. Written here is what differs: the episode's rules and
record, and that a fault ends its trajectory, never the group (verl would fail the prompt and still train
on the siblings). The transcript leaves in ``AgentLoopOutput.extra_fields["longvt"]``, which reaches the
reward as ``extra_info["longvt"]`` and the trainer ``longvt_sync`` with the trajectory.

Recipe options, all optional: ``rollout.custom.longvt.max_calls`` (tool calls per trajectory, default 5).
"""

from __future__ import annotations

import logging
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput, register
from verl.experimental.agent_loop.tool_agent_loop import AgentData, AgentState, ToolAgentLoop
from verl.tools.schemas import ToolResponse

from longvt_plugins.episode import Episode, Limits
from longvt_plugins.tokens.frames_time import media_of
from longvt_plugins.types import CropOutcome, EndedBy, Fault

logger = logging.getLogger(__name__)


@register("longvt_agent")
class LongVTAgentLoop(ToolAgentLoop):
    """One instance per trajectory (verl instantiates the loop for each)."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        self.episode = Episode(
            limits=Limits(
                max_calls=self._option("max_calls", Limits.max_calls),
                max_turns=self.max_assistant_turns or Limits.max_turns,
            ),
            overview=media_of(kwargs["raw_prompt"]),
        )
        self.ended_by: EndedBy = "no_answer"
        try:
            output = await super().run(sampling_params, **kwargs)
            transcript = self.episode.finish(self.ended_by)
        except Exception as error:
            logger.exception("longvt_agent: the trajectory of sample %s is faulted", kwargs.get("index"))
            output = self._faulted_output(kwargs)
            transcript = self.episode.finish("fault", Fault.of(error))
        output.extra_fields["longvt"] = transcript.model_dump(mode="json")
        return output

    async def _handle_generating_state(
        self, agent_data: AgentData, sampling_params: dict[str, Any], ignore_termination: bool = False
    ) -> AgentState:
        room = self.response_length - len(agent_data.response_mask)
        state = await super()._handle_generating_state(agent_data, sampling_params, ignore_termination)
        # verl cuts the response there at the end: what is cut is neither trained on nor part of the record.
        kept = agent_data.response_ids[:room]
        text = self.tokenizer.decode(kept, skip_special_tokens=True)
        self.episode.turn("assistant", text, len(kept))
        if state == AgentState.TERMINATED:
            self.ended_by = self._why_ended(agent_data, text)
        return state

    async def _handle_processing_tools_state(self, agent_data: AgentData) -> AgentState:
        tokens_before, messages_before = len(agent_data.response_mask), len(agent_data.messages)
        state = await super()._handle_processing_tools_state(agent_data)
        if state == AgentState.TERMINATED:
            # verl dropped the whole tool response, frames and text: it did not fit.
            self.ended_by = "length_limit"
        else:
            replies = [_text_of(message["content"]) for message in agent_data.messages[messages_before:]]
            self.episode.turn("tool", "\n".join(replies), len(agent_data.response_mask) - tokens_before)
        return state

    async def _call_tool(
        self, tool_call, tools_kwargs: dict[str, Any], agent_data: AgentData
    ) -> tuple[ToolResponse, float, dict]:
        number, outcome = self.episode.open_call(tool_call.name, tool_call.arguments)
        if outcome is not None:
            result = ToolResponse(text=outcome.reply), 0.0, {}
        else:
            result = await super()._call_tool(tool_call, tools_kwargs, agent_data)
            response, _, details = result
            # Without an outcome verl answered in the tool's place: unknown tool, or an exception in it.
            outcome = details.get("outcome") or CropOutcome(status="refused", reply=response.text or "")
        self.episode.close_call(number, outcome)
        return result

    def _why_ended(self, agent_data: AgentData, text: str) -> EndedBy:
        if "</answer>" in text:
            return "answer"
        if len(agent_data.response_mask) >= self.response_length:
            return "length_limit"
        if self.max_assistant_turns and agent_data.assistant_turns >= self.max_assistant_turns:
            return "turn_limit"
        return "no_answer"

    def _option(self, name: str, default: int) -> int:
        options = (self.rollout_config.get("custom") or {}).get("longvt") or {}
        return int(options.get(name, default))

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


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
