"""A rollout engine that says what a script tells it to: verl's own client interface, no model.

Use it with a real ``AgentLoopWorker``: everything else on the path (dataset, template, tokens, parser,
tool, masks, positions) is then the real thing, without Ray or a trainer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from omegaconf import DictConfig
from verl.protocol import DataProto
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from longvt_plugins.verify.rollout import worker_outputs

Script = Callable[[int, list[int]], str | list[int]]
"""``(turn, prompt_ids) -> text`` of the policy's next turn, without the end token."""


class ScriptedClient(LLMServerClient):
    """Answers the k-th generation of a trajectory with ``script(k, prompt_ids)``: text, which is ended, or tokens."""

    def __init__(self, config: DictConfig, tokenizer, script: Script):
        super().__init__(config)
        self._tokenizer, self._script = tokenizer, script
        self._turns: dict[str, int] = {}
        self.images_seen: list[list] = []
        """Per generation: the images that the engine would have got."""

    async def generate(self, request_id, *, prompt_ids, sampling_params, image_data=None, **kwargs) -> TokenOutput:
        turn = self._turns.get(request_id, 0)
        self._turns[request_id] = turn + 1
        self.images_seen.append(list(image_data or ()))
        said = self._script(turn, prompt_ids)
        ids = self._tokenizer.encode(said + "<|im_end|>", add_special_tokens=False) if isinstance(said, str) else said
        steps = {"global_steps": 0, "min_global_steps": 0, "max_global_steps": 0}
        return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), stop_reason="completed", extra_fields=steps)


def roll_out(config: DictConfig, client: LLMServerClient, rows: Sequence[dict]) -> DataProto:
    """Run one trajectory per dataset row through a real ``AgentLoopWorker``."""
    return asyncio.run(worker_outputs(config, client, rows))
