"""Figures -> go, or what to fix first. Every threshold stands here, and is printed beside its figure."""

from __future__ import annotations

from longvt_plugins.launch.finding import Finding

from .figures import Figures

FAULTED, ABSTAINED, TRUNCATED = 0.02, 0.10, 0.10
"""At most."""
PARSED, TOOL_USE, SOLVED, SIGNAL, ENTROPY = 0.90, 0.20, 0.10, 0.20, 0.02
"""At least. Entropy is in nats a token."""
EASY = 0.95
"""pass@1 at most: of what is always right, nothing is learnt."""


def verdict(found: Figures, n: int, offers_tool: bool = True) -> list[Finding]:
    """What to fix before the run, worst first; empty: go.

    Args:
        n: trajectories of a group.
        offers_tool: whether the recipe has ``crop_video``.
    """
    reasons: list[Finding] = []

    def check(fine: bool, name: str, what: str, why: str, remedy: str) -> None:
        if not fine:
            reasons.append(Finding(name, what, why, remedy))

    check(
        found.faulted <= FAULTED,
        "faults",
        f"{found.faulted:.0%} of the trajectories faulted",
        f"at most {FAULTED:.0%} may: the run would leave them out",
        "See 'fault:' above; 'longvt check-data' finds bad videos.",
    )
    check(
        found.abstained <= ABSTAINED,
        "abstentions",
        f"{found.abstained:.0%} of the answers could not be decided",
        f"at most {ABSTAINED:.0%} may: the run would leave them out",
        "Configure a judge (reward_kwargs.judge; 'longvt judge check URL'), or give the rows options.",
    )
    check(
        found.parse_rate >= PARSED,
        "form",
        f"parse rate {found.parse_rate:.2f}",
        f"at least {PARSED:.2f} wanted: RL would first spend its steps on the form",
        "Teach the form by SFT, longer or with this template; if SFT did, the template served is another.",
    )
    if offers_tool:
        check(
            found.tool_use >= TOOL_USE,
            "tool-use",
            f"{found.tool_use:.0%} of the trajectories crop",
            f"at least {TOOL_USE:.0%} wanted: a call that is never made cannot be reinforced",
            "SFT on demonstrations that call crop_video first.",
        )
    check(
        found.truncated <= TRUNCATED,
        "truncation",
        f"{found.truncated:.0%} of the trajectories are cut off",
        f"at most {TRUNCATED:.0%} may: they have no answer",
        "Raise data.max_response_length and rollout.max_model_len, or lower the crops' frames.",
    )
    if found.pass_n is not None and found.pass_1 is not None:
        check(
            found.pass_n >= SOLVED,
            "too-hard",
            f"pass@{n} {found.pass_n:.2f}",
            f"at least {SOLVED:.2f} wanted: what is never right cannot be reinforced",
            "Easier rows, more SFT, or a larger rollout.n.",
        )
        check(
            found.pass_1 <= EASY,
            "too-easy",
            f"pass@1 {found.pass_1:.2f}",
            f"at most {EASY:.2f} wanted: groups that are always right agree",
            "Harder rows.",
        )
    check(
        found.entropy is None or found.entropy >= ENTROPY,
        "entropy",
        f"entropy {found.entropy or 0:.3f} nats a token",
        f"at least {ENTROPY} wanted: the {n} trajectories of a group are the same",
        "Raise rollout.temperature, or stop SFT earlier.",
    )
    usable = min(found.signal, found.kept)
    check(
        usable >= SIGNAL,
        "signal",
        f"{usable:.0%} of the groups teach something",
        f"at least {SIGNAL:.0%} wanted: the others are rolled out for nothing",
        "See pass@1, pass@n and entropy; a larger rollout.n finds more differences.",
    )
    return reasons
