"""DAPO's group filter among scored trajectories (``algorithm.filter_groups``).

Stock verl compares the rewards of a whole group, so the 0 that stands for an abstention makes a group of equal scores
look mixed, and a metric without a value (``acc`` is ``None``) ends the run with a TypeError.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from types import MethodType

from verl.trainer.ppo.v1.replay_buffer import FILTER_GROUPS_REWARD_METRIC, ReplayBuffer

from .inclusion import check_survivors, gives_no_signal, scored
from .rows import get_rows, group_of


def install(buffer: ReplayBuffer) -> None:
    """Have ``buffer`` filter by ``filtered_groups``; a buffer that does not filter, or is a user's own, stays."""
    if type(buffer) is ReplayBuffer and buffer.filter_groups_metric is not None:
        buffer._dapo_filtered_keys = MethodType(filtered_groups, buffer)
        buffer.faulted_in_a_row = {}


def filtered_groups(buffer: ReplayBuffer, partition_id: str) -> tuple[set[str], Counter]:
    """Finished groups without a signal, and how many of them agree on which value: as verl's
    ``ReplayBuffer._dapo_filtered_keys`` (``verl/trainer/ppo/v1/replay_buffer.py``), which it stands in for."""
    if partition_id == "val":
        return set(), Counter()
    finished = buffer.finished_keys[partition_id]
    known = buffer._dapo_classification_cache[partition_id]
    for uid in known.keys() - finished:
        del known[uid]
    members: dict[str, list[str]] = defaultdict(list)
    for key in buffer.partitions[partition_id]:
        if (uid := group_of(key)) in finished - known.keys():
            members[uid].append(key)
    for uid, keys in members.items():
        rows = get_rows(_Keys(keys, partition_id), ["extra_fields"])["extra_fields"]
        _note_faults(buffer, uid, rows)
        known[uid] = _shared_value([row["reward_extra_info"] for row in rows if scored(row)], buffer)
    filtered = {uid: value for uid, value in known.items() if value is not None}
    return set(filtered), Counter(filtered.values())


def _note_faults(buffer: ReplayBuffer, uid: str, rows: list[dict]) -> None:
    """A dead engine would be asked for other groups for ever: it ends the run once it failed a whole batch of them."""
    if any(scored(row) or row["reward_extra_info"]["abstained"] for row in rows):
        buffer.faulted_in_a_row.clear()
        return
    buffer.faulted_in_a_row[uid] = rows
    if len(buffer.faulted_in_a_row) >= (buffer.train_batch_size or 1):
        groups = [uid for uid, rows in buffer.faulted_in_a_row.items() for _ in rows]
        check_survivors(groups, [row for rows in buffer.faulted_in_a_row.values() for row in rows])


def _shared_value(rewards: list[dict], buffer: ReplayBuffer) -> float | None:
    """The value on which a group's scored trajectories agree; ``None`` when they differ."""
    metric = buffer.filter_groups_metric
    name = "score" if metric == FILTER_GROUPS_REWARD_METRIC else metric
    values = [float(reward[name]) for reward in rewards if reward[name] is not None]
    if not gives_no_signal(values):
        return None
    return values[0] if values else 0.0


@dataclass(frozen=True)
class _Keys:
    """As much of a batch as reading needs."""

    keys: list[str]
    partition_id: str
