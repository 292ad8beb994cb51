"""Figures against a computation by hand, with abstentions and faults among the records; every verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from longvt_plugins.evaluation.results import EvaluationRecord
from longvt_plugins.pilot import verdict as rules
from longvt_plugins.pilot.figures import Figures, Part
from longvt_plugins.pilot.verdict import verdict
from longvt_plugins.testing.records import evaluated
from longvt_plugins.types import Fault, TokenEntropy, Transcript

GROUPS, N = 12, 6


def record(group: int, k: int, rng: np.random.Generator) -> EvaluationRecord:
    faulted, abstained = rng.random() < 0.1, rng.random() < 0.2
    acc = None if faulted or abstained else float(rng.choice([0, 0.5, 1]) if group % 3 else group % 2)
    form = float(rng.random() < 0.7) if group % 3 else 1.0
    grounding = None if group % 4 == 0 else float(rng.choice([0.0, 0.25]))
    transcript = Transcript(ended_by="answer", fault=Fault(kind="x", message="y") if faulted else None)
    made = evaluated(
        f"{group}.{k}",
        transcript,
        acc,
        score=0.0 if acc is None else acc + 0.2 * form,
        format=form,
        grounding=grounding,
        abstained=abstained and not faulted,
        faulted=faulted,
    )
    entropy = TokenEntropy(tokens=k + 1, nats=float(group), listed_nats=group / 2)
    return made.model_copy(update={"entropy": entropy})


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_an_array(seed):
    rng = np.random.default_rng(seed)
    records = [record(group, k, rng) for group in range(GROUPS) for k in range(N)]
    found = Figures.of(rng.permutation(np.array(records, dtype=object)).tolist(), "acc")

    def array(name):
        values = [getattr(r.reward, name) if not (r.reward.faulted or r.reward.abstained) else None for r in records]
        return np.array([np.nan if value is None else value for value in values]).reshape(GROUPS, N)

    acc, score = array("acc"), array("score")
    alone = np.isfinite(acc).sum(1) < 2
    some = np.isfinite(acc).any(1)
    assert found.pass_1 == pytest.approx(np.mean([np.nanmean(row) for row in acc[some]]))
    assert found.pass_n == pytest.approx(np.mean([np.nanmax(row) for row in acc[some]]))
    score[alone] = acc[alone] = np.nan
    spread = [np.nanmax(row) > np.nanmin(row) for row in score[~alone]]
    assert found.signal == pytest.approx(sum(spread) / GROUPS)
    assert found.kept == pytest.approx(sum(np.nanmax(row) > np.nanmin(row) for row in acc[~alone]) / GROUPS)
    for name in ("score", "acc", "format", "grounding"):
        values = array(name)
        values[alone] = np.nan
        part, used = found.parts[name], np.isfinite(values).any(1)
        assert part.mean == pytest.approx(np.nanmean(values))
        assert part.variance == pytest.approx(np.nanvar(values, ddof=1))
        several = np.isfinite(values).sum(1) > 1
        assert part.within == pytest.approx(np.mean([np.nanvar(row, ddof=1) for row in values[several]]))
        assert part.signal == pytest.approx(np.mean([np.nanmax(r) > np.nanmin(r) for r in values[used]]))
    tokens = GROUPS * sum(range(1, N + 1))
    assert found.entropy == pytest.approx(N * sum(range(GROUPS)) / tokens)
    assert found.entropy_listed == pytest.approx(found.entropy / 2)
    assert found.faulted == sum(r.reward.faulted for r in records) / len(records)
    assert found.abstained == sum(r.reward.abstained for r in records) / len(records)


GO = Figures(
    groups=8, trajectories=64, faulted=0.0, abstained=0.0, parse_rate=0.95, readable_calls=0.97, pass_1=0.4, pass_n=0.8,
    signal=0.7, kept=0.6, parts={"score": Part(1.0, 0.5, 0.2, 0.7)}, entropy=0.3, entropy_listed=0.29, calls=1.2,
    crops=1.1, tool_use=0.9, truncated=0.0, policy_tokens=200.0, tool_tokens=600.0, seconds=9.0,
)  # fmt: skip


def test_fine_figures_go():
    assert verdict(GO, 8) == []
    assert verdict(replace(GO, tool_use=0.0), 8, offers_tool=False) == []
    assert verdict(replace(GO, entropy=None), 8) == [], "a server that gives no log-probabilities"


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"faulted": rules.FAULTED + 0.01}, "faults"),
        ({"abstained": rules.ABSTAINED + 0.01}, "abstentions"),
        ({"parse_rate": rules.PARSED - 0.01}, "form"),
        ({"tool_use": rules.TOOL_USE - 0.01}, "tool-use"),
        ({"truncated": rules.TRUNCATED + 0.01}, "truncation"),
        ({"pass_n": rules.SOLVED - 0.01}, "too-hard"),
        ({"pass_1": rules.EASY + 0.01}, "too-easy"),
        ({"entropy": rules.ENTROPY / 2}, "entropy"),
        ({"entropy": 0.0}, "entropy"),
        ({"signal": rules.SIGNAL - 0.01}, "signal"),
        ({"kept": rules.SIGNAL - 0.01}, "signal"),
    ],
)
def test_each_figure_beyond_its_threshold_is_one_reason(changes, name):
    (reason,) = verdict(replace(GO, **changes), 8)
    assert reason.name == name and reason.why and reason.remedy


def test_nothing_scored_is_no_go_and_no_crash():
    rng = np.random.default_rng(0)
    lost = [record(1, k, rng) for k in range(4)]
    lost = [r.model_copy(update={"reward": r.reward.model_copy(update={"faulted": True, "acc": None})}) for r in lost]
    found = Figures.of(lost)
    assert (found.pass_1, found.signal, found.parts, found.faulted) == (None, 0, {}, 1)
    assert "faults" in [reason.name for reason in verdict(found, 4)]
