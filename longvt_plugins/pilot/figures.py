"""Records of a pilot -> what decides whether GRPO can learn from such groups.

A trajectory is scored, abstained or faulted, and included as in training (``trainer.inclusion``). Groups are compared
as GRPO compares them: a group gives a signal if its included scores differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, variance
from typing import Any

from longvt_plugins.evaluation.results import EvaluationRecord
from longvt_plugins.trainer.inclusion import gives_no_signal, included

PARTS = ("score", "acc", "grounding", "format", "tool", "call_cost")


@dataclass(frozen=True)
class Part:
    """One field of the reward, over included trajectories that have it."""

    mean: float
    variance: float
    """Of all of them."""
    within: float
    """Mean of the groups' variances: what advantages are made of."""
    signal: float
    """Share of groups in which it differs."""


@dataclass(frozen=True)
class Figures:
    """Shares are of all trajectories, or of all groups; ``None`` where there is nothing to take one of."""

    groups: int
    trajectories: int
    faulted: float
    abstained: float
    parse_rate: float
    """Trajectories of the asked form, all of whose calls could be read."""
    readable_calls: float | None
    """Share of the calls."""
    pass_1: float | None
    """Mean answer score of a group, averaged over groups with a score."""
    pass_n: float | None
    """Best answer score of a group, likewise. With answers right or wrong: the share of questions with a right one."""
    signal: float
    """Groups whose included scores differ."""
    kept: float
    """Groups that the recipe's ``filter_groups`` keeps; without a filter, 1."""
    parts: dict[str, Part]
    entropy: float | None
    """Nats a token: mean of -log p of the policy's sampled tokens."""
    entropy_listed: float | None
    """Nats a token, from the listed tokens alone: a lower bound of the entropy at the same places."""
    calls: float
    crops: float
    tool_use: float
    """With at least one executed crop."""
    truncated: float
    """Cut off where the response ends."""
    policy_tokens: float
    tool_tokens: float
    seconds: float
    """A trajectory, at the concurrency it was made with."""
    ended_by: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[EvaluationRecord], metric: str | None = None) -> Figures:
        """Args:
        records: with ids ``ROW.K``, the K-th trajectory of a row's group. At least one.
        metric: of ``filter_groups``; ``None``: groups are not filtered.
        """
        records = list(records)
        groups = [record.id.rpartition(".")[0] for record in records]
        scored = [not (record.reward.faulted or record.reward.abstained) for record in records]
        taking_part = [r for r, takes_part in zip(records, included(groups, scored), strict=True) if takes_part]
        lived = [record for record in records if not record.reward.faulted]
        calls = [call for record in records for call in record.transcript.calls]
        best = _by_group([r for r, s in zip(records, scored, strict=True) if s], lambda r: r.reward.acc)
        total = len(set(groups))
        field_of = "score" if metric in (None, "reward") else metric
        differ = {name: _differing(taking_part, name) for name in {*PARTS, field_of}}
        said = [record.entropy for record in records if record.entropy]
        tokens = sum(entropy.tokens for entropy in said)

        def share(holds: Callable[[EvaluationRecord], object]) -> float:
            return sum(bool(holds(record)) for record in records) / len(records)

        return cls(
            groups=total,
            trajectories=len(records),
            faulted=share(lambda r: r.reward.faulted),
            abstained=share(lambda r: r.reward.abstained and not r.reward.faulted),
            parse_rate=share(lambda r: not r.reward.faulted and r.reward.format == 1 and not _unread(r)),
            readable_calls=1 - sum(map(_unread, records)) / len(calls) if calls else None,
            pass_1=_mean([fmean(values) for values in best.values()]),
            pass_n=_mean([max(values) for values in best.values()]),
            signal=differ["score"] / total,
            kept=differ[field_of] / total if metric else 1.0,
            parts={name: part for name in PARTS if (part := _part(taking_part, name, differ[name]))},
            entropy=sum(entropy.nats for entropy in said) / tokens if tokens else None,
            entropy_listed=sum(entropy.listed_nats for entropy in said) / tokens if tokens else None,
            calls=len(calls) / len(records),
            crops=sum(record.reward.crops_ok for record in lived) / len(records),
            tool_use=share(lambda r: r.reward.crops_ok),
            truncated=share(lambda r: r.transcript.ended_by == "length_limit"),
            policy_tokens=_tokens(records, "assistant"),
            tool_tokens=_tokens(records, "tool"),
            seconds=fmean(record.transcript.seconds for record in records),
            ended_by={
                end: count / len(records)
                for end, count in Counter(record.transcript.ended_by for record in records).most_common()
            },
        )

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _by_group(
    records: Iterable[EvaluationRecord], value: Callable[[EvaluationRecord], float | None]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if (number := value(record)) is not None:
            found[record.id.rpartition(".")[0]].append(float(number))
    return found


def _differing(records: Sequence[EvaluationRecord], name: str) -> int:
    values = _by_group(records, lambda record: getattr(record.reward, name)).values()
    return sum(not gives_no_signal(group) for group in values)


def _part(records: Sequence[EvaluationRecord], name: str, differ: int) -> Part | None:
    groups = _by_group(records, lambda record: getattr(record.reward, name))
    values = [value for group in groups.values() for value in group]
    comparable = [group for group in groups.values() if len(group) > 1]
    if not comparable:
        return None
    within = fmean(variance(group) for group in comparable)
    return Part(mean=fmean(values), variance=variance(values), within=within, signal=differ / len(groups))


def _unread(record: EvaluationRecord) -> int:
    return sum(call.outcome.status == "malformed" for call in record.transcript.calls)


def _tokens(records: Sequence[EvaluationRecord], role: str) -> float:
    return fmean(sum(turn.tokens for turn in r.transcript.turns if turn.role == role) for r in records)


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
