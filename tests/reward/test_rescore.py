"""Finished rollouts with another judge, and what would have changed."""

import json

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError, JudgeError
from longvt_plugins.reward import RewardConfig, compute_reward
from longvt_plugins.reward.compare import compare
from longvt_plugins.reward.judge import Judge, JudgeConfig
from longvt_plugins.reward.rescore import read_dump, rescore
from longvt_plugins.testing.judge_server import JudgeServer
from longvt_plugins.testing.records import trajectory
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import Fault, Transcript, Turn, Verdict


def said(answer):
    return Transcript(turns=(Turn(role="assistant", text=f"<answer>{answer}</answer>", tokens=1),), ended_by="answer")


def rollout(session, answer, verdict=None, **changes):
    ok = {"status": "ok", "score": verdict} if verdict is not None else {"status": "abstain", "cause": "deadline"}
    reward = compute_reward(
        said(answer), "a red car", segments=[(1, 2)], verdict=Verdict(judge_id="old", reason="said so", key="k", **ok)
    )
    fields = {"transcript": said(answer), "reward": reward, "ground_truth": "a red car", "session": session}
    return trajectory(**{**fields, **changes})


GROUP = [rollout(0, "a red car"), rollout(1, "scarlet", 1.0), rollout(2, "a blue car", 0.0), rollout(3, "crimson")]


def score(question, reference, answer):
    return {"scarlet": 0.0, "a blue car": 0.0, "crimson": 0.5}[answer]


async def again(records, server, ledger=None, config=None):
    async with Judge(JudgeConfig(endpoints=[server.url], model="new", ledger=ledger, deadline_s=2)) as judge:
        return await rescore(records, judge, config)


async def test_what_a_rule_decided_stays_and_the_rest_is_asked():
    with JudgeServer(score=score) as server:
        rule, flipped, same, decided = await again(GROUP, server)
    assert sorted(answer for _, _, answer in server.asked) == ["a blue car", "crimson", "scarlet"]
    assert rule == GROUP[0]
    assert (flipped.reward.acc, flipped.reward.judge_id, flipped.reward.decided_by) == (0.0, "new", "judge")
    assert flipped.reward.score == pytest.approx(0.2) and flipped.reward.format == 1.0
    assert same.reward.score == GROUP[2].reward.score
    assert (decided.reward.acc, decided.reward.abstained) == (0.5, False)
    assert decided.reward.score == pytest.approx(0.5 + 0.2) and decided.reward.grounding == 0.0


async def test_with_its_ledger_a_judge_repeats_itself_without_a_request(tmp_path):
    ledger = str(tmp_path / "l")
    with JudgeServer(score=score) as server:
        once = await again(GROUP, server, ledger)
    assert await again(GROUP, server, ledger) == once, "nobody listens any more"
    assert [r.model_dump_json() for r in await again(once, server, ledger)] == [r.model_dump_json() for r in once]


class Refusing:
    """A judge that declines every question."""

    async def verdict(self, *asked):
        return Verdict(status="abstain", cause="refused", judge_id="new", reason="no", key="k")


async def test_what_nobody_can_decide_is_settled_as_in_the_run():
    verdict = await Refusing().verdict()
    for policy, acc in (("zero", 0.0), ("abstain", None)):
        config = RewardConfig(on_abstain=policy, answer=2.0)
        reward = compute_reward(said("crimson"), "a red car", segments=[(2, 1)], config=config, verdict=verdict)
        assert (reward.acc, reward.abstained) == (acc, acc is None)
        record = rollout(0, "crimson", reward=reward)
        assert await rescore([record], Refusing(), config) == [record]
    with pytest.raises(JudgeError, match="on_abstain"):
        await rescore([record], Refusing(), RewardConfig(on_abstain="raise", answer=2.0))


async def test_a_fault_and_a_broken_row_stay_what_they_are():
    fault = Transcript(ended_by="fault", fault=Fault(kind="VideoOpenError", message="gone"))
    faulted = trajectory(transcript=fault, reward=compute_reward(fault, "a red car"))
    no_truth = trajectory(transcript=said("red"), reward=compute_reward(said("red"), None), ground_truth=None)
    with JudgeServer() as server:
        assert await again([faulted, no_truth], server) == [faulted, no_truth]
    assert server.asked == []


async def test_other_weights_than_the_runs_are_refused():
    with JudgeServer(score=score) as server, pytest.raises(ConfigError, match="--reward"):
        await again(GROUP, server, config=RewardConfig(answer=2.0))


def test_a_comparison_counts_what_would_have_changed():
    b = [GROUP[0], rollout(1, "scarlet", 0.0), rollout(2, "a blue car", 0.0), rollout(3, "crimson", 1.0)]
    found = compare(GROUP, b)
    assert (found.trajectories, found.judged, found.agreement) == (4, 3, 0.5)
    assert found.transitions == {"1 -> 0": 1, "0 -> 0": 1, "- -> 1": 1}
    assert (found.groups, found.groups_changed, found.signs_changed) == (1, 1, 1)
    same = compare(GROUP, GROUP)
    assert (same.agreement, same.groups_changed, same.signs_changed) == (1.0, 0, 0)
    with pytest.raises(ConfigError, match="3 in common"):
        compare(GROUP, GROUP[:3])


def test_the_commands(tmp_path, capsys):
    trajectory_log.write(tmp_path / "trajectories", "train", 1, GROUP)
    out = tmp_path / "again.jsonl"
    with JudgeServer(score=score) as server:
        code = main(["judge", "--json", "rescore", str(tmp_path), "--judge", server.url, "-o", str(out)])
    told = json.loads(capsys.readouterr().out)
    assert code == 0 and (told["trajectories"], told["changed"], told["requests"]) == (4, 2, 3)
    assert [record.session for record in read_dump(out)] == [0, 1, 2, 3]
    assert main(["judge", "compare", str(tmp_path), str(out)]) == 0
    assert "1 trajectories pushed the other way" in capsys.readouterr().out
    out.write_text("{}\n")
    assert main(["judge", "compare", str(tmp_path), str(out)]) == 2
    assert "line 1: is no trajectory" in capsys.readouterr().err
    assert main(["judge", "compare", str(tmp_path / "trajectories" / "val"), str(out)]) == 2
