"""A scripted LLM judge: an OpenAI-compatible server on a loopback socket, with faults and a configured rate.

It reads the blocks of our judge prompt and scores the answer with a function, so a test knows every right verdict.
Faults are those of real servers, down to the socket: see ``FAULTS``. It runs in a thread; ``stop`` and ``start`` let
it die and return on the same port.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Score = Callable[[str, str, str], float]
"""``(question, reference, answer) -> 1, 0.5 or 0``."""

FAULTS = (
    *("500", "429", "hang", "reset", "half_reply", "not_json", "wrong_body"),
    *("reply_not_json", "reply_wrong_schema", "empty_reply", "reply_cut_off", "reply_in_parts"),
)
"""HTTP 500; 429 with Retry-After; no answer at all; the connection reset; a body cut in the middle; a body that is no
JSON; JSON that is no completion; a verdict that is no JSON, has another schema, is empty, or ended at ``max_tokens``;
content that is a list. The last two come with a ``usage`` that counts nothing."""

COUNTED = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
_BLOCK = r"\[{name} (\w+)\]\n(.*?)\n\[/{name} \1\]"


def same_words(question: str, reference: str, answer: str) -> float:
    """1 when the reference's words are the answer's, else 0."""
    return float(reference.casefold().split() == answer.casefold().split())


@dataclass
class JudgeServer:
    """Use as a context manager; ``url`` is what a judge's endpoint is set to.

    Args:
        score: decides.
        rate: verdicts per second at most; ``None``: as fast as it can.
        fault_rate: share of requests that get a fault.
        faults: which ones.
        port: 0 chooses a free one.
        structured: whether it knows ``response_format``; if not it answers 400, as older servers do.
    """

    score: Score = same_words
    rate: float | None = None
    latency_s: float = 0.0
    fault_rate: float = 0.0
    faults: Sequence[str] = FAULTS
    retry_after_s: float = 0.05
    seed: int = 0
    model: str = "scripted-judge"
    port: int = 0
    structured: bool = True
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """``(question, reference, answer)`` of every request that reached it, in order."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    served: Counter = field(default_factory=Counter)
    """How often each fault, and ``"ok"``, was served."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._next_free = 0.0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> JudgeServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, on the same port as before if it listened before."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("the scripted judge did not start")

    def stop(self) -> None:
        """Die: the socket closes, and every open connection is reset."""
        if self._thread:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)
            self._thread = None

    def _run(self, ready: threading.Event) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        connections: set[asyncio.Task] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            connections.add(task)
            try:
                while await self._exchange(reader, writer):
                    pass
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                connections.discard(task)
                writer.transport.abort()

        server = await asyncio.start_server(accept, "127.0.0.1", self.port, reuse_address=True, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        if head.startswith("GET"):
            return await self._send(writer, 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        request = json.loads(body)
        self.bodies.append(request)
        if "response_format" in request and not self.structured:
            return await self._send(writer, 400, {"error": {"message": "response_format is not supported"}})
        user = request["messages"][-1]["content"]
        blocks = [re.search(_BLOCK.format(name=n), user, re.DOTALL) for n in ("QUESTION", "REFERENCE", "ANSWER")]
        texts = tuple(block[2] for block in blocks)
        self.asked.append(texts)
        await self._take_time()
        fault = self._random.choice(self.faults) if self._random.random() < self.fault_rate else "ok"
        self.served[fault] += 1
        return await self._answer(writer, fault, texts)

    async def _take_time(self) -> None:
        if self.rate:
            now = time.monotonic()
            self._next_free = max(now, self._next_free) + 1 / self.rate
            await asyncio.sleep(self._next_free - now)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)

    async def _answer(self, writer: asyncio.StreamWriter, fault: str, texts: tuple[str, str, str]) -> bool:
        match fault:
            case "500":
                return await self._send(writer, 500, {"error": {"message": "planted"}})
            case "429":
                body = {"error": {"message": "slow down"}}
                return await self._send(writer, 429, body, f"Retry-After: {self.retry_after_s}\r\n")
            case "hang":
                await asyncio.sleep(3600)
            case "reset":
                # Zero linger: the peer gets a reset, not an orderly end.
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case "half_reply":
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"id": "x", '
                )
                await writer.drain()
                return False
            case "not_json":
                return await self._send(writer, 200, "<html>Bad gateway</html>")
            case "wrong_body":
                return await self._send(writer, 200, {"status": "ok", "score": 1})
        verdict = json.dumps({"reason": "scripted", "score": self.score(*texts)})
        if fault == "reply_cut_off":
            return await self._send(writer, 200, self._completion(verdict, "length", usage={}))
        if fault == "reply_in_parts":
            return await self._send(writer, 200, self._completion([{"type": "text", "text": verdict}], usage=None))
        reply = {
            "reply_not_json": "I would say that it is right, maybe 1.",
            "reply_wrong_schema": '{"rating": 1, "out_of": 2}',
            "empty_reply": "",
        }.get(fault, verdict)
        return await self._send(writer, 200, self._completion(reply))

    def _completion(self, content: Any, finish_reason: str = "stop", usage: Any = COUNTED) -> dict[str, Any]:
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [
                {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content}},
            ],
            "usage": usage,
        }

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Any, headers: str = "") -> bool:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        return True
