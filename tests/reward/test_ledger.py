"""One call for equal questions across tasks, threads and processes; nothing recorded is lost or asked again."""

import asyncio
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.reward.judge import Judge, JudgeConfig
from longvt_plugins.reward.ledger import Ledger, LedgerEntry, open_ledger
from longvt_plugins.testing.judge_server import JudgeServer
from longvt_plugins.types import Verdict


def entry(key="0" * 64, score=1.0, **fields):
    ok = {"status": "ok", "score": score} if score is not None else {"status": "abstain", "cause": "deadline"}
    return LedgerEntry(key=key, time=1.5, verdict=Verdict(judge_id="j@r", key=key, **ok), **fields)


def key(number):
    return f"{number:064x}"


async def forbidden():
    raise AssertionError("asked again")


async def test_a_verdict_survives_with_everything_it_came_from(tmp_path):
    full = entry(
        reply='{"score": 1}\nsecond line \u2028 \U0001f600',
        settings={"temperature": 0.0},
        question="q",
        answer="a",
        reference="r",
        faults=("HTTP 500",),
        latency_s=0.25,
        attempts=2,
        endpoint="http://e",
        model="j",
        revision="r",
        prompt_tokens=10,
        completion_tokens=2,
        cost=0.5,
    )
    Ledger(tmp_path / "l").append(full)
    again = Ledger(tmp_path / "l")
    assert (await again.once(full.key, forbidden))[0] == full
    assert list(again.entries()) == [full]
    assert json.loads((tmp_path / "l").read_text().splitlines()[-1])["hit"] == full.key


async def test_an_abstention_is_recorded_and_asked_again(tmp_path):
    ledger = Ledger(tmp_path / "l")

    async def abstain():
        return entry(score=None)

    async def decide():
        return entry(score=0.0)

    assert (await ledger.once(key(0), abstain))[0].verdict.score is None
    assert (await ledger.once(key(0), decide))[0].verdict.score == 0.0
    assert [e.verdict.status for e in ledger.entries()] == ["abstain", "ok"]


@pytest.mark.parametrize("path", [None, "l"])
async def test_equal_questions_in_flight_are_one_call(tmp_path, path):
    ledger, calls = Ledger(path and tmp_path / path), 0

    async def ask():
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.02)
        return entry(key(1))

    got = await asyncio.gather(*(ledger.once(key(1), ask) for _ in range(16)))
    assert calls == 1 and sum(hit for _, hit in got) == 15 and len({e.key for e, _ in got}) == 1


async def test_a_cancelled_asker_hands_over(tmp_path):
    ledger, asked = Ledger(tmp_path / "l"), asyncio.Event()

    async def never():
        asked.set()
        await asyncio.sleep(60)

    async def decide():
        return entry(key(1), score=0.0)

    first = asyncio.create_task(ledger.once(key(1), never))
    await asked.wait()
    second = asyncio.create_task(ledger.once(key(1), decide))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second)[0].verdict.score == 0.0


async def test_an_error_reaches_everyone_who_waits_and_is_not_remembered(tmp_path):
    ledger = Ledger(tmp_path / "l")

    async def fail():
        await asyncio.sleep(0.01)
        raise ValueError("planted")

    got = await asyncio.gather(*(ledger.once(key(1), fail) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in got] == ["planted"] * 3

    async def decide():
        return entry(key(1))

    assert (await ledger.once(key(1), decide))[1] is False


@pytest.mark.parametrize("damage", [b'{"key": "torn', b"\x00\xff\n", b"not json\n", b"{}\n", b"\n\n", b'{"hit": 1}\n'])
async def test_damage_costs_its_own_line_alone(tmp_path, damage):
    path = tmp_path / "l"
    Ledger(path).append(entry(key(1)))
    with path.open("ab") as file:
        file.write(damage)
    ledger = Ledger(path)
    ledger.append(entry(key(2), score=0.0))
    again = Ledger(path)
    for number, score in ((1, 1.0), (2, 0.0)):
        assert (await again.once(key(number), forbidden))[0].verdict.score == score
    assert again.damaged_lines == (0 if b"hit" in damage or not damage.strip() else 1)


def test_a_place_that_cannot_be_written_is_a_configuration_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="ledger"):
        Ledger(tmp_path / "file" / "l")


def test_one_ledger_per_file_and_process(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert open_ledger(tmp_path / "l") is open_ledger(tmp_path / "link" / "l")
    assert open_ledger(None) is not open_ledger(None)


def test_a_file_system_without_record_locks_is_refused_and_never_waited_for(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    with pytest.raises(ConfigError, match=r"No locks available.*with record locks"):
        Ledger(tmp_path / "l")


ASK = """
import asyncio, sys
from longvt_plugins.reward.judge import Judge, JudgeConfig
url, ledger, answers = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
async def main():
    async with Judge(JudgeConfig(endpoints=[url], ledger=ledger, model="m", deadline_s=20)) as judge:
        got = await asyncio.gather(*(judge.verdict("?", "yes it is", answer) for answer in answers))
        print(sum(verdict.status == "ok" for verdict in got), judge.calls, flush=True)
asyncio.run(main())
"""


def asker(url, ledger, answers):
    command = [sys.executable, "-c", ASK, url, str(ledger), ",".join(answers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("fault_rate", [0.0, pytest.param(0.4, marks=pytest.mark.full)])
def test_16_equal_answers_from_8_processes_are_one_verdict(tmp_path, fault_rate):
    with JudgeServer(latency_s=0.3, fault_rate=fault_rate, faults=["500"]) as server:
        children = [asker(server.url, tmp_path / "l", ["the same"] * 2) for _ in range(8)]
        told = [child.communicate(timeout=60)[0].split() for child in children]
    assert [ok for ok, _ in told] == ["2"] * 8
    assert server.served["ok"] == 1 and sum(int(calls) for _, calls in told) == len(server.asked)
    assert len(list(Ledger(tmp_path / "l").entries())) == 1


@pytest.mark.full
def test_in_an_outage_processes_do_not_wait_in_turn(tmp_path):
    with JudgeServer() as server:
        url = server.url
    children = [asker(url, tmp_path / "l", ["the same"]) for _ in range(4)]
    told = [child.communicate(timeout=120)[0].split() for child in children]
    assert [ok for ok, _ in told] == ["0"] * 4
    assert sum(calls != "0" for _, calls in told) < 4, "who waited took over what was found out"


def test_kill_9_repeats_at_most_what_was_in_flight(tmp_path):
    answers = [f"n {i}" for i in range(200)]
    ledger = tmp_path / "l"
    with JudgeServer(rate=150) as server:
        for _ in range(3):
            child = asker(server.url, ledger, answers)
            before = server.served["ok"]
            while server.served["ok"] < before + 25 and child.poll() is None:
                time.sleep(0.01)
            os.kill(child.pid, signal.SIGKILL)
            child.communicate()
        killed = len(server.asked)
        recorded = {e.answer for e in Ledger(ledger).entries()}
        assert 0 < len(recorded) < 200
        ok, calls = asker(server.url, ledger, answers).communicate(timeout=60)[0].split()
    assert ok == "200" and int(calls) == 200 - len(recorded)
    asked_after = [answer for _, _, answer in server.asked[killed:]]
    assert not recorded & set(asked_after), "a recorded verdict was asked again"
    assert len(server.asked) <= 200 + 3 * 32, "at most the requests in flight at each kill are repeated"


async def test_an_outage_is_not_cached(tmp_path):
    with JudgeServer() as server:
        settings = JudgeConfig(endpoints=[server.url], model="m", ledger=str(tmp_path / "l"), deadline_s=0.3)
        async with Judge(settings) as judge:
            server.stop()
            assert (await judge.verdict("?", "yes it is", "yes it is")).cause == "unreachable"
            server.start()
            await asyncio.sleep(1.1)
            assert (await judge.verdict("?", "yes it is", "yes it is")).score == 1.0


async def test_another_judge_prompt_or_setting_is_another_question(tmp_path):
    own = tmp_path / "prompt.txt"
    own.write_text("Be strict.")
    variants = [{}, {"revision": "2"}, {"temperature": 0.5}, {"seed": 7}, {"prompt_file": str(own)}, {"model": "other"}]
    with JudgeServer() as server:
        for variant in [*variants, *variants]:
            settings = JudgeConfig(
                **{"endpoints": [server.url], "model": "m", "ledger": str(tmp_path / "l"), **variant}
            )
            async with Judge(settings) as judge:
                await judge.verdict("?", "yes it is", "no")
    assert len(server.asked) == len(variants)
