"""The real reward, with abstentions planted: 0, 1, n - 1 or n in a group of n, by the row's index.

verl loads it by path, as a user's own reward. It counts the trajectories of a row: ``reward.num_workers`` must be 1.
"""

from collections import Counter

from longvt_plugins.reward import compute_score as real

GROUP = 4
PLAN = (0, 1, GROUP - 1, GROUP)
_seen: Counter = Counter()


def planned(index: int) -> int:
    """How many of a group's trajectories abstain."""
    return PLAN[index % len(PLAN)]


async def compute_score(data_source, solution_str, ground_truth, extra_info=None, **options):
    record = await real(data_source, solution_str, ground_truth, extra_info, **options)
    number = _seen[extra_info["index"]] % GROUP
    _seen[extra_info["index"]] += 1
    if number < planned(extra_info["index"]) and not record["faulted"]:
        record |= {"score": 0.0, "acc": None, "abstained": True, "decided_by": "nobody", "reason": "planted"}
    return record
