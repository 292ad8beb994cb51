"""Questions, a served checkpoint, and a folder in which the result grows.

At most ``concurrency`` conversations run at once. Each is the loop's, is scored by the reward, and is a line of the
result when it ends. A fault of the server or of a video is a record without a score.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from longvt_plugins.errors import ConfigError, LongVTError
from longvt_plugins.loops.openai_loop import OpenAILoop
from longvt_plugins.loops.options import LoopOptions
from longvt_plugins.reward import RewardConfig, judged_reward
from longvt_plugins.reward.grounding import windows_of
from longvt_plugins.tokens.profiles import MediaProfile, profile_named
from longvt_plugins.tools.options import CropOptions
from longvt_plugins.tools.tool_file import Tool
from longvt_plugins.types import Fault, TokenEntropy, Transcript
from longvt_plugins.video import SamplingPolicy

from .blank import blank_crops
from .options import EvaluationOptions, Mode
from .questions import Question, hash_of
from .results import EvaluationRecord, Header, open_result

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SERVED = "served"


def template_hash(template: bytes | None) -> str:
    """Of a chat template, as a header has it; ``None``: whatever the server has."""
    return SERVED if template is None else blake2b(template, digest_size=16).hexdigest()


def weights_hash(checkpoint: str | os.PathLike[str]) -> str | None:
    """Of names, sizes and times of change of a checkpoint's weights; ``None``: it is no folder with safetensors."""
    files = sorted(Path(checkpoint).expanduser().glob("*.safetensors"))
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return blake2b(repr(states).encode(), digest_size=16).hexdigest() if states else None


@dataclass(frozen=True)
class Evaluation:
    """How questions are put to one served checkpoint.

    Args:
        url, model: of an OpenAI-compatible server, and the name under which it serves the checkpoint.
        options, tool: as ``options.read_file`` gives them.
        template: hash of the chat template that the server was started with.
        weights: hash of the checkpoint's files, as ``weights_hash`` has it; ``None``: its folder is not known.
        api_key: for the server; most need none.
        timeout_s: for one request.

    Raises:
        ConfigError, ProfileError: options that no question can be put with.
    """

    url: str
    model: str
    options: EvaluationOptions
    tool: Tool
    mode: Mode = "crops"
    template: str = SERVED
    weights: str | None = None
    api_key: str = "none"
    timeout_s: float = 600.0

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(self.url, "is no URL of a server", "Pass one like http://host:8000/v1.")
        self._loop(None)
        judge = self.reward.judge
        own = [e for e in (judge.endpoints if judge else ()) if e.url.rstrip("/") == self.url.rstrip("/")]
        if own and not (own[0].model or judge.model):
            raise ConfigError(
                f"reward.judge.endpoints: {own[0].url}",
                "is the policy's own server, and the first model there would judge itself",
                "Serve the policy elsewhere ($LONGVT_JUDGE names the judge), or name the judge's model (judge.model).",
            )
        _ = self.overview

    @property
    def profile(self) -> MediaProfile:
        return profile_named(self.options.profile)

    @property
    def overview(self) -> SamplingPolicy:
        try:
            return replace(self.profile.overview, **self.options.overview)
        except TypeError as error:
            raise ConfigError("overview", str(error), "Correct the options.") from error

    @property
    def crop(self) -> CropOptions:
        return self.tool.crop

    @property
    def limits(self) -> LoopOptions:
        return LoopOptions.of({"custom": {"longvt": self.options.loop}}, self.options.response_length)

    @property
    def reward(self) -> RewardConfig:
        try:
            return RewardConfig(**self.options.reward)
        except (TypeError, ValueError) as error:
            raise ConfigError("reward", str(error), "Correct the options.") from error

    def header(self, questions: Sequence[Question]) -> Header:
        options = self.options.model_dump(exclude={"profile", "overview", "tool", "loop", "reward"})
        return Header(
            model=self.model,
            mode=self.mode,
            rows=hash_of(questions),
            questions=len(questions),
            profile=self.profile.name,
            template=self.template,
            weights=self.weights,
            options={
                **options,
                "overview": asdict(self.overview),
                "tool_schema": self.tool.tool_schema,
                "crop": asdict(self.crop),
                "loop": asdict(self.limits),
                "reward": self.reward.model_dump(mode="json"),
            },
        )

    async def run(
        self,
        questions: Sequence[Question],
        folder: str | os.PathLike[str],
        concurrency: int = 8,
        told: Callable[[EvaluationRecord], None] = lambda record: None,
    ) -> dict[str, EvaluationRecord]:
        """Ask what ``folder`` has no record of yet, or only a fault; returns all records by id.

        Conversations whose answer nobody could judge are kept, and the judge is asked again.

        Args:
            told: called with each new record.

        Raises:
            ConfigError: another evaluation lies in ``folder``, or ``concurrency`` is not positive.
            JudgeError: the judge is down. What was decided is kept.
        """
        if concurrency < 1:
            raise ConfigError(f"concurrency={concurrency}", "must be at least 1", "Change it.")
        with open_result(folder, self.header(questions)) as result:
            judged = self.reward.judge is not None
            done = {
                id
                for id, record in result.records.items()
                if not (record.reward.faulted or (judged and record.reward.abstained))
            }
            pending = iter([question for question in questions if question.id not in done])

            async def work(loop: OpenAILoop) -> None:
                for question in pending:
                    before = result.records.get(question.id)
                    if before and before.reward.abstained:
                        record = await self._record(question, before.transcript, before.entropy)
                    else:
                        record = await self._record(question, *await self._conversation(loop, question))
                    if record != before:
                        result.add(record)
                        told(record)

            async with self._client() as client:
                workers = [asyncio.create_task(work(self._loop(client))) for _ in range(concurrency)]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
            return result.records

    async def converse(self, question: Question) -> Transcript:
        """One conversation, neither judged nor kept."""
        async with self._client() as client:
            return (await self._conversation(self._loop(client), question))[0]

    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(base_url=self.url, api_key=self.api_key, timeout=self.timeout_s)

    def _loop(self, client) -> OpenAILoop:
        return OpenAILoop(
            client,
            self.model,
            self.limits,
            self.options.response_length,
            tools=() if self.mode == "no-tool" else (self.tool.tool_schema,),
            crop=self.crop,
            profile=self.profile,
            sampling=self.options.sampling,
            max_images=self.options.max_images,
            opening=self.options.opening,
            native_calls=self.options.native_calls,
            wire=blank_crops if self.mode == "blank" else None,
        )

    async def _conversation(self, loop: OpenAILoop, question: Question) -> tuple[Transcript, TokenEntropy | None]:
        if not question.may_crop:
            loop = replace(loop, tools=())
        try:
            messages = await asyncio.to_thread(question.messages, self.profile, self.overview)
            conversation = await loop.run(messages, question.videos)
            return conversation.transcript, conversation.entropy
        except LongVTError as error:
            fault = Fault.of(error)
            return Transcript(ended_by="fault", fault=fault, media_profile=self.profile.name), None

    async def _record(
        self, question: Question, transcript: Transcript, entropy: TokenEntropy | None
    ) -> EvaluationRecord:
        row, info = question.row, question.row["extra_info"]
        asked = str(info.get("question") or "")
        reward = await judged_reward(
            transcript,
            row["reward_model"]["ground_truth"],
            info.get("options") or None,
            info.get("segments"),
            self.reward,
            question=asked,
            data_source=row["data_source"],
        )
        return EvaluationRecord(
            id=question.id,
            data_source=row["data_source"],
            question=asked,
            ground_truth=row["reward_model"]["ground_truth"],
            segments=tuple(windows_of(info.get("segments"))[0]),
            transcript=transcript,
            reward=reward,
            entropy=entropy,
        )
