"""What a pilot found, for people."""

from __future__ import annotations

from collections.abc import Sequence

from longvt_plugins.launch.finding import Finding

from . import verdict as limits
from .figures import Figures


def report(found: Figures, n: int, metric: str | None, reasons: Sequence[Finding]) -> str:
    """A line per figure with the threshold it is held to, a table of the reward's parts, and the verdict."""
    lines = [
        _line("parse rate", found.parse_rate, "form kept and every call readable", f"at least {limits.PARSED}"),
        _line("readable calls", found.readable_calls, "share of all calls"),
        _line("pass@1", found.pass_1, "mean answer score", f"at most {limits.EASY}"),
        _line(f"pass@{n}", found.pass_n, "best answer score of a group, averaged", f"at least {limits.SOLVED}"),
        _line("signal", found.signal, "groups whose scores differ", f"at least {limits.SIGNAL}"),
    ]
    if metric:
        rolled = f"{1 / found.kept:.1f}" if found.kept else "infinitely many"
        why = f"groups that filter_groups ({metric}) keeps: {rolled} rolled out for each"
        lines.append(_line("kept", found.kept, why, f"at least {limits.SIGNAL}"))
    lines += [
        _line("entropy", found.entropy, "nats a token: mean of -log p of sampled tokens", f"at least {limits.ENTROPY}"),
        _line("  listed", found.entropy_listed, "-p log p over the listed tokens: a lower bound of the above's mean"),
        _line("tool use", found.tool_use, "trajectories with a crop", f"at least {limits.TOOL_USE}"),
        _line("calls", found.calls, f"per trajectory; crops {found.crops:.2f}"),
        _line("truncated", found.truncated, "cut off where the response ends", f"at most {limits.TRUNCATED}"),
        _line("faulted", found.faulted, "", f"at most {limits.FAULTED}"),
        _line("abstained", found.abstained, "nobody could decide the answer", f"at most {limits.ABSTAINED}"),
        _line(
            "tokens", found.policy_tokens, f"of the policy per trajectory, {found.tool_tokens:.0f} of tools", digits=0
        ),
        _line("seconds", found.seconds, "per trajectory", digits=1),
        "ended by: " + ", ".join(f"{end} {share:.0%}" for end, share in found.ended_by.items()),
        f"{'part':>14} {'mean':>9} {'variance':>9} {'in groups':>9} {'signal':>9}",
    ]
    for name, part in found.parts.items():
        numbers = " ".join(f"{value:9.3f}" for value in (part.mean, part.variance, part.within, part.signal))
        lines.append(f"{name:>14} {numbers}")
    lines.append("verdict: fix first" if reasons else "verdict: go")
    return "\n".join([*lines, *(f"  {reason}" for reason in reasons)])


def _line(title: str, value: float | None, why: str, threshold: str = "", digits: int = 3) -> str:
    figure = "-" if value is None else f"{value:.{digits}f}"
    said = "; ".join(text for text in (why, threshold) if text)
    return f"{title:>14} {figure:>9}  {said}".rstrip()
