"""Dataset rows through verl's own agent-loop worker, without Ray or a trainer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from omegaconf import DictConfig
from verl.protocol import DataProto
from verl.workers.rollout.llm_server import LLMServerClient


async def worker_outputs(config: DictConfig, client: LLMServerClient, rows: Sequence[dict]) -> DataProto:
    """One trajectory per row, on the running event loop, where an engine may live."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopWorker

    columns = {}
    for name in ("raw_prompt", "tools_kwargs", "extra_info", "reward_model", "data_source", "index"):
        columns[name] = np.empty(len(rows), dtype=object)
        columns[name][:] = [row[name] for row in rows]
    batch = DataProto.from_dict(
        tensors={"dummy": torch.zeros(len(rows), 1)}, non_tensors=columns, meta_info={"global_steps": 0}
    )
    return await AgentLoopWorker(config, client).generate_sequences(batch)
