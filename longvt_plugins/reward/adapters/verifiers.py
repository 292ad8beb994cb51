"""verifiers: a mixin that gives a task the reward. Importing this imports verifiers.

    class VideoTask(LongVTReward, vf.Task[VideoData, vf.State, vf.TaskConfig]):
        longvt = RewardConfig(judge={"endpoints": ["http://judge:8000/v1"]})

The task's data carries ``ground_truth`` (or ``solution``, ``answer``) and optionally ``question``, ``options``,
``segments`` and ``data_source``. An abstention raises ``JudgeError``: verifiers records it on the trace and does not
score the rollout. Tested with verifiers 0.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import verifiers.v1 as vf

from longvt_plugins.errors import JudgeError
from longvt_plugins.reward.config import RewardConfig

from .batch import REFERENCES, score_batch

COLUMNS = (*REFERENCES, "question", "options", "segments", "data_source")


class LongVTReward:
    """See the module docstring."""

    longvt: RewardConfig = RewardConfig()

    @vf.reward
    async def longvt_score(self, trace: vf.Trace) -> float:
        data: Mapping[str, Any] = self.data.model_dump()
        columns = {name: [data[name]] for name in COLUMNS if data.get(name) is not None}
        columns.setdefault("question", [self.data.prompt_text])
        messages = [message.model_dump() for message in trace.messages]
        (record,) = await score_batch([messages], columns, self.longvt)
        trace.info["longvt"] = record.model_dump()
        if record.abstained:
            raise JudgeError(record.reason, "leaves the answer undecided", "Repair the judge, and score again.")
        return record.score
