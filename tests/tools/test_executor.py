"""Beside an event loop: nothing blocks it, and a decoder that crashes or hangs costs one call."""

import asyncio
import os
import signal
import time

import pytest

from longvt_plugins.errors import ConfigError
from longvt_plugins.testing.videos import read_numbers
from longvt_plugins.tools import executor as executor_module
from longvt_plugins.tools.crop_video import CropOptions, crop_video
from longvt_plugins.tools.executor import CropExecutor, execute
from longvt_plugins.video import clip_store, node_store

WINDOW = {"start_time": 1, "end_time": 2}

# Runs in each child before anything else: a decoder that does what the file's name says.
SABOTAGE = """
import os, signal, time
import av
real = av.open
def sabotaged(path, *args, **options):
    does = os.path.basename(path)
    if "crash" in does:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in does:
        time.sleep(3600)
    if "exit" in does:
        os._exit(3)
    if "print" in does:
        os.write(1, b"noise from a library")
    return real(path, *args, **options)
av.open = sabotaged
"""


@pytest.fixture
def sabotaged(tmp_path, monkeypatch, good):
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(executor_module, "GRACE_S", 0.5)

    def video(does: str) -> str:
        path = tmp_path / f"{does}.mkv"
        path.write_bytes(good["late_mkv"].read_bytes())
        return str(path)

    return video


@pytest.fixture
def executor():
    made = CropExecutor(workers=2)
    yield made
    made.close()


async def test_same_outcome_as_in_process(good, executor):
    outcome = await executor.crop(WINDOW, [str(good["h264"])])
    assert read_numbers(clip_store.get(outcome.media)) == [round(time_s * 30) for time_s in outcome.times_s]
    direct = crop_video(WINDOW, [str(good["h264"])])
    timing = {"seconds": 0, "decode_s": 0, "cached": False}
    assert direct.model_copy(update=timing) == outcome.model_copy(update=timing)


async def test_frames_arrive_without_a_shared_store(good, executor, monkeypatch):
    monkeypatch.setenv(node_store.DIRECTORY_VARIABLE, "off")
    outcome = await executor.crop(WINDOW, [str(good["h264"])])
    pixels = clip_store.get(outcome.media)
    assert read_numbers(pixels) == [round(time_s * 30) for time_s in outcome.times_s]
    assert clip_store.status().made == 0


async def test_frames_arrive_that_are_too_large_for_the_store(good, executor, monkeypatch):
    monkeypatch.setenv(node_store.BYTES_VARIABLE, str(1 << 17))
    outcome = await executor.crop(WINDOW, [str(good["h264"])])
    pixels = clip_store.get(outcome.media)
    assert pixels.nbytes > 1 << 14 and read_numbers(pixels) == [round(time_s * 30) for time_s in outcome.times_s]
    assert clip_store.status() and clip_store.status().made == 0


async def test_seconds_count_the_wait_for_a_worker_and_hostile_calls_do_not_wait(good, monkeypatch):
    executor = CropExecutor(workers=1)
    real = executor_module._Child.crop
    monkeypatch.setattr(executor_module._Child, "crop", lambda child, *call: (time.sleep(0.5), real(child, *call))[1])
    try:
        windows = ({"start_time": n, "end_time": n + 1} for n in range(2))
        calls = [asyncio.ensure_future(executor.crop(window, [str(good["h264"])])) for window in windows]
        await asyncio.sleep(0)
        assert (await executor.crop({"start_time": "x"}, [str(good["h264"])])).status == "malformed"
        assert not any(call.done() for call in calls)
        first, second = await asyncio.gather(*calls)
    finally:
        executor.close()
    assert first.seconds > 0.5 and second.seconds > 1.0


async def test_the_loop_runs_while_a_decoder_hangs(sabotaged, executor, monkeypatch):
    started, real = [], executor_module._Child.__init__
    monkeypatch.setattr(executor_module._Child, "__init__", lambda child: (started.append(child), real(child))[1])
    call = asyncio.ensure_future(executor.crop(WINDOW, [sabotaged("hang")], CropOptions(deadline_s=1)))
    beats = 0
    while not call.done():
        await asyncio.sleep(0.01)
        beats += 1
    assert beats > 20
    outcome = call.result()
    assert outcome.status == "failed" and "deadline" in outcome.error.message and "shorter" in outcome.reply
    assert [child.process.returncode for child in started] == [-signal.SIGKILL]


@pytest.mark.parametrize(("does", "said"), [("crash", "SIGSEGV"), ("exit", "exit code 3")])
async def test_a_crash_costs_one_call(sabotaged, executor, does, said):
    outcome = await executor.crop(WINDOW, [sabotaged(does)])
    assert outcome.status == "failed" and outcome.error.kind == "VideoDecodeError" and said in outcome.error.message
    assert (await executor.crop(WINDOW, [sabotaged("fine")])).status == "ok"


async def test_crashes_beside_good_calls(sabotaged, executor):
    names = ["fine", "crash", "fine", "exit", "fine", "crash"]
    outcomes = await asyncio.gather(*(executor.crop(WINDOW, [sabotaged(name)]) for name in names))
    assert [outcome.status for outcome in outcomes] == ["ok" if name == "fine" else "failed" for name in names]


async def test_what_libraries_print_does_not_reach_the_replies(sabotaged, executor):
    assert (await executor.crop(WINDOW, [sabotaged("print")])).status == "ok"


async def test_no_more_children_than_workers(good, executor):
    await asyncio.gather(
        *(executor.crop({"start_time": n / 10, "end_time": 3}, [str(good["h264"])]) for n in range(12))
    )
    assert 1 <= len(executor._idle) <= 2


async def test_a_child_killed_while_idle_is_replaced(good, executor):
    await executor.crop(WINDOW, [str(good["h264"])])
    for child in executor._idle:
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()
    assert (await executor.crop({"start_time": 2, "end_time": 3}, [str(good["h264"])])).status == "ok"


async def test_a_child_killed_before_its_request_costs_that_call(good, executor, monkeypatch):
    await executor.crop(WINDOW, [str(good["h264"])])
    for child in executor._idle:
        os.kill(child.process.pid, signal.SIGKILL)
        child.process.wait()
    monkeypatch.setattr(executor_module._Child, "alive", lambda child: True)
    outcome = await executor.crop({"start_time": 2, "end_time": 3}, [str(good["h264"])])
    assert outcome.status == "failed" and "SIGKILL" in outcome.error.message


async def test_hostile_arguments_never_reach_a_child(executor):
    for arguments in (
        {},
        {"start_time": object(), "end_time": 1},
        {"start_time": float("nan"), "end_time": 1},
        None,
        7,
    ):
        assert (await executor.crop(arguments, ["/nowhere.mp4"])).status == "malformed"
    assert not executor._idle


async def test_closing_ends_the_children(good):
    executor = CropExecutor(workers=1)
    await executor.crop(WINDOW, [str(good["h264"])])
    (child,) = executor._idle
    executor.close()
    assert child.process.returncode == -signal.SIGKILL


async def test_closing_fails_the_calls_under_way_those_that_wait_and_later_ones(sabotaged):
    executor = CropExecutor(workers=1)
    calls = [asyncio.ensure_future(executor.crop(WINDOW, [sabotaged(name)])) for name in ("hang", "fine")]
    while not executor._busy:
        await asyncio.sleep(0.01)
    executor.close()
    outcomes = [*await asyncio.wait_for(asyncio.gather(*calls), 30), await executor.crop(WINDOW, [sabotaged("fine")])]
    assert [(outcome.status, outcome.error.kind) for outcome in outcomes] == [("failed", "ToolClosedError")] * 3
    assert not executor._busy and not executor._idle


async def test_a_closed_executor_of_threads_decodes_no_more(good):
    executor = CropExecutor(workers=1, isolation="thread")
    executor.close()
    outcome = await executor.crop(WINDOW, [str(good["h264"])])
    assert (outcome.status, outcome.error.kind) == ("failed", "ToolClosedError")


def test_children_end_with_their_parent(good):
    import subprocess
    import sys
    from pathlib import Path

    code = """
import asyncio, sys
from longvt_plugins.tools.executor import CropExecutor
executor = CropExecutor(workers=1)
asyncio.run(executor.crop({"start_time": 1, "end_time": 2}, [sys.argv[1]]))
print(executor._idle[0].process.pid, flush=True)
sys.stdin.read()
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(good["h264"])]
    parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    status = Path(f"/proc/{child}/stat")
    # A bound for a hang, not a time limit: the child leaves as soon as it reads the end of its pipe.
    until = time.monotonic() + 60
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < until
        time.sleep(0.02)


def test_several_loops_share_the_executor_of_the_process(good):
    videos = [str(good["h264"])]
    try:
        for start in (0.5, 1.5):
            assert asyncio.run(execute({"start_time": start, "end_time": 3}, videos)).status == "ok"
    finally:
        executor_module._executor.close()
        executor_module._executor = None


async def test_threads_instead_of_children(good):
    executor = CropExecutor(workers=2, isolation="thread")
    outcomes = await asyncio.gather(
        *(executor.crop({"start_time": n / 4, "end_time": n / 4 + 1}, [str(good["h264"])]) for n in range(8))
    )
    for outcome in outcomes:
        assert read_numbers(clip_store.get(outcome.media)) == [round(time_s * 30) for time_s in outcome.times_s]
    assert not executor._idle


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_worker_counts_that_cannot_work_are_refused(monkeypatch, value):
    monkeypatch.setenv(executor_module.WORKERS_VARIABLE, value)
    with pytest.raises(ConfigError, match=executor_module.WORKERS_VARIABLE):
        CropExecutor()
    with pytest.raises(ConfigError, match="workers"):
        CropExecutor(workers=0)
