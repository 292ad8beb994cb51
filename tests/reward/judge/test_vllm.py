"""``longvt judge check`` against a real ``vllm serve`` on the CPU: a random model is a server, and no judge."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from longvt_plugins.reward.judge import JudgeConfig
from longvt_plugins.reward.judge.check import check, examples
from longvt_plugins.reward.judge.prompt import render

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from longvt_plugins.testing.tiny_model import make_tiny_qwen2_5_vl

    folder = tmp_path_factory.mktemp("judge")
    texts = [message["content"] for e in examples() for message in render(e.question, e.reference, e.answer)]
    make_tiny_qwen2_5_vl(folder, [*texts, '{"reason": "the same", "score": 1}'], hidden=64)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cheap = {"VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1", "VERL_PLATFORM": "cpu"}
    options = ["--port", str(port), "--host", "127.0.0.1", "--max-model-len", "4096", "--dtype", "float32"]
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(folder), "--enforce-eager", *options]
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [*command, "--served-model-name", "tiny", "--skip-mm-profiling"],
        env={**os.environ, **cheap},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    config = JudgeConfig(endpoints=[f"http://127.0.0.1:{port}/v1"], deadline_s=60, attempt_s=60, unparsable_replies=1)
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and server.poll() is None and asyncio.run(_listed(config)) == []:
        time.sleep(1)
    yield config, folder / "log"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(60)
    log.close()


async def _listed(config: JudgeConfig) -> list[str]:
    from longvt_plugins.reward.judge.endpoint import Endpoint, RetryableFault

    endpoint = Endpoint(config.endpoints[0], config)
    try:
        return await endpoint.models()
    except RetryableFault:
        return []
    finally:
        await endpoint.close()


def test_the_check_of_a_real_server(served):
    config, log = served
    report = asyncio.run(check(config))
    assert report.models == ["tiny"], log.read_text()[-3000:]
    assert report.fault == "" and report.structured
    assert not report.ok, "random weights agree on at most half of the verdicts"
    assert len(report.disagreements) + round(report.agreement * 20) == 20
    assert all(wrong["said"] in (None, 0, 0.5, 1) for wrong in report.disagreements)
