"""Rollouts -> RFT traces: what the policy did well, as conversations to learn from.

A trajectory becomes a chain of its own words, with the frames it was shown by reference; the prompt comes from the one
RL row with its index, question, answer and videos. Left out, in this order: faulted, undecided, wrong, badly formatted,
badly grounded, cut off, too long, of no certain row, said before, more than enough of one question, and no chain to
learn from, such as one with a call that no parser reads: a reward may forgive it, but it must not be taught. The funnel
tells how many at each.

With a tokenizer, a trace is also left out if its text does not give the policy's own tokens back: another tokenization
of the same words is not what was sampled and rewarded.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from longvt_plugins.datasets.media import crop_items
from longvt_plugins.datasets.paths import local_path
from longvt_plugins.datasets.problems import problems_of
from longvt_plugins.datasets.schema import Chain, Origin
from longvt_plugins.errors import ConfigError
from longvt_plugins.tokens.labels import END_OF_TURN
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.types import MediaRef, TrajectoryRecord

from . import Funnel


@dataclass(frozen=True)
class Standards:
    """What a trace must reach.

    Attributes:
        acc: least answer score; the judge's 0.5 is half right.
        format: least format score.
        grounding: least IoU of its crops with the ground truth; rows without ground truth then fail. ``None``: any.
        tokens: tokens the policy may have generated at most.
        crops: crops that must have returned frames at least.
        per_question: traces of one question at most, the best grounded first come.
    """

    acc: float = 1.0
    format: float = 1.0
    grounding: float | None = None
    tokens: int | None = None
    crops: int = 0
    per_question: int | None = None

    def __post_init__(self):
        for name in ("acc", "format", "grounding"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name}={value}", "must lie between 0 and 1", "Change it.")

    def shortfall(self, record: TrajectoryRecord) -> str | None:
        """Why a trajectory is not good enough; ``None``: it is."""
        reward, transcript = record.reward, record.transcript
        tokens = sum(turn.tokens for turn in transcript.turns if turn.role == "assistant")
        rules = {
            "faulted": reward.faulted or transcript.ended_by == "fault",
            "undecided by rules and judge": reward.abstained or reward.acc is None,
            f"answer below {self.acc:g}": reward.acc is not None and reward.acc < self.acc,
            f"format below {self.format:g}": reward.format < self.format,
            f"grounding below {self.grounding or 0:g}, or no ground truth": self.grounding is not None
            and (reward.grounding is None or reward.grounding < self.grounding),
            "ended without an answer": transcript.ended_by != "answer",
            f"more than {self.tokens} tokens": self.tokens is not None and tokens > self.tokens,
            f"fewer than {self.crops} crops": len(transcript.crops_ok()) < self.crops,
        }
        return next((reason for reason, broken in rules.items() if broken), None)


def traces_of(
    records: Iterable[TrajectoryRecord],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    standards: Standards,
    funnel: Funnel,
    *,
    tools: Sequence[dict[str, Any]] | None = None,
    root: str | os.PathLike[str] = "",
    encode: Callable[[str], Sequence[int]] | None = None,
) -> Iterator[Chain]:
    """RFT traces of the trajectories that are good enough.

    Args:
        records: all trajectories; they are held in memory until the best of each question are known.
        rows: RL rows by ``extra_info.index`` as text, in the shape of ``rl_rows.read_row``: files may share an index.
        tools: function schemas the policy was shown; empty: leave them out, for the SFT recipe to show its own;
            ``None``: it was shown none.
        root: paths of videos below it are written relative to it.
        encode: text to token ids of the policy's tokenizer, to prove that a text gives its tokens.

    Raises:
        ConfigError: a trajectory calls a tool, so the policy was shown tools.
    """
    good: list[tuple[TrajectoryRecord, Mapping[str, Any]]] = []
    for record in records:
        funnel.read += 1
        if tools is None and record.transcript.calls:
            raise ConfigError(
                f"a tool call in {_name(record)}",
                "the policy was shown tools, and a trace without their schemas would teach another prompt",
                "Name the RL recipe's tool configuration with --tools, or leave the schemas out with --no-tools.",
            )
        fitting = [row for row in rows.get(str(record.sample_index), ()) if _fits(record, row)]
        reason = standards.shortfall(record) or _mismatch(record, fitting, encode)
        if reason is None:
            good.append((record, fitting[0]))
        else:
            funnel.drop(reason, _name(record))
    good.sort(key=lambda pair: -(pair[0].reward.grounding or 0.0))
    said: set[tuple[int, bytes]] = set()
    taken: Counter = Counter()
    for record, row in good:
        question = row["longvt_row"]
        words = blake2b("\0".join(_own(record)).encode(), digest_size=16).digest()
        if (question, words) in said:
            funnel.drop("said before, word for word", _name(record))
        elif standards.per_question is not None and taken[question] >= standards.per_question:
            funnel.drop(f"more than {standards.per_question} of its question", _name(record))
        elif problem := next(problems_of(messages := _messages(record, row, os.fspath(root))), None):
            example = f"{_name(record)}, {problem.column}: {problem.value}"
            funnel.drop(f"no chain to learn from: {problem.rule}", example)
        else:
            said.add((question, words))
            taken[question] += 1
            funnel.written += 1
            yield _chain(record, row, messages, tools)


def _fits(record: TrajectoryRecord, row: Mapping[str, Any]) -> bool:
    """Whether a row of its index may be the one that a trajectory answers."""
    asked = row["extra_info"].get("question") or "", row["reward_model"].get("ground_truth")
    shown = [os.path.basename(ref.path) for ref in record.transcript.overview]
    videos = [os.path.basename(local_path(url)) for url in row["videos"]]
    return asked == (record.question, record.ground_truth) and shown in ([], videos)


def _mismatch(
    record: TrajectoryRecord, rows: Sequence[Mapping[str, Any]], encode: Callable[[str], Sequence[int]] | None
) -> str | None:
    """Why a trajectory cannot be written down with the rows that fit it."""
    if not rows:
        return "no row with its index, question, answer and videos"
    row, *others = ({**row, "longvt_row": None} for row in rows)
    if any(other != row for other in others):
        return "several rows with its index, question, answer and videos"
    prompt = "".join(message["content"] for message in row["prompt"])
    shown = len(record.transcript.overview), len(row.get("images") or ())
    if (prompt.count("<video>"), prompt.count("<image>")) != shown:
        return "its row asks about other media than it was shown"
    if encode is not None and not _gives_its_tokens(record, encode):
        return "its text does not give the policy's tokens"
    return None


def _messages(record: TrajectoryRecord, row: Mapping[str, Any], root: str) -> list[dict[str, Any]]:
    transcript = record.transcript
    profile = profile_named(transcript.media_profile)
    overview = iter(transcript.overview)
    messages = [
        {"role": m["role"], "content": _with_frames(m["content"], overview, row.get("images") or (), root)}
        for m in row["prompt"]
    ]
    for number, turn in enumerate(transcript.turns):
        if turn.role != "assistant":
            continue
        messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.text}]})
        for call in transcript.calls:
            if call.turn == number:
                items = crop_items(call.outcome, profile)
                for item in items:
                    if item["type"] == "frames":
                        item["frames"]["url"] = _below(item["frames"]["url"], root)
                messages.append({"role": "tool", "content": items})
    return messages


def _chain(
    record: TrajectoryRecord,
    row: Mapping[str, Any],
    messages: list[dict[str, Any]],
    tools: Sequence[dict[str, Any]] | None,
) -> Chain:
    reward = record.reward
    selected = row["extra_info"].get("tool_selection")
    left_out = tools is not None and not tools
    shown = [tool for tool in tools or () if not selected or tool["function"]["name"] in selected]
    return Chain(
        id=_name(record),
        messages=messages,
        tools=None if left_out else shown,
        origin=Origin(
            run=record.run,
            step=record.step,
            group=record.group,
            session=record.session,
            data_source=record.data_source,
            question=record.question,
            ground_truth=record.ground_truth,
            score=reward.score,
            acc=reward.acc,
            grounding=reward.grounding,
            format=reward.format,
            reason=reward.reason,
            tokens=sum(turn.tokens for turn in record.transcript.turns if turn.role == "assistant"),
        ),
    )


def _with_frames(content: str, overview: Iterator[MediaRef], images: Sequence[str], root: str) -> list[dict[str, Any]]:
    """A prompt's text with each ``<video>`` as the very frames that were shown."""
    pictures, items = iter(images), []
    for piece in re.split("(<video>|<image>)", content):
        if piece == "<video>":
            ref = next(overview)
            frames = {"url": _below(ref.path, root), "times_s": list(ref.times_s), "size": list(ref.size)}
            items.append({"type": "frames", "frames": frames})
        elif piece == "<image>":
            items.append({"type": "image_url", "image_url": {"url": next(pictures)}})
        elif piece:
            items.append({"type": "text", "text": piece})
    return items


def _gives_its_tokens(record: TrajectoryRecord, encode: Callable[[str], Sequence[int]]) -> bool:
    sampled: list[list[int]] = []
    before = 0
    for token, own in zip(record.response_ids, record.response_mask, strict=True):
        if own and not before:
            sampled.append([])
        if own:
            sampled[-1].append(token)
        before = own
    texts = _own(record)
    # What the template opened the turns with stands in the texts, and was not sampled.
    without = [text.removeprefix("<think>") for text in texts]
    return sampled in ([list(encode(text + END_OF_TURN)) for text in said] for said in (texts, without))


def _own(record: TrajectoryRecord) -> list[str]:
    return [turn.text for turn in record.transcript.turns if turn.role == "assistant"]


def _name(record: TrajectoryRecord) -> str:
    return f"{record.run}/{record.split}/{record.step}/{record.sample_index}/{record.group}/{record.session}"


def _below(path: str, root: str) -> str:
    root = os.path.abspath(os.path.expanduser(root)) if root else ""
    return os.path.relpath(path, root) if root and os.path.commonpath([path, root]) == root else path
