"""A scripted policy behind the real protocol: an OpenAI-compatible server on a loopback socket, no model."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[[int, dict[str, Any]], str | int | dict[str, Any]]
"""``(turn, request) -> text``, or an HTTP status to fail with, or a whole ``message``. A turn is counted from the
assistant messages that the request carries."""

_TOO_LONG = (
    "This model's maximum context length is {} tokens. However, you requested {} output tokens and your prompt "
    "contains {} input tokens."
)


class ChatServer:
    """Use as a context manager; ``url`` is what a client's ``base_url`` is set to.

    Args:
        script: decides.
        count: tokens of a text, for ``usage``; ``None``: its words.
        likely: log-probability of a text's tokens, each with those of the likeliest tokens there, sent where a request
            asks for ``logprobs``; ``None``: the server has none.
        context_length: tokens of a conversation, at most; more is refused in vLLM's words.
        usage: whether replies say how many tokens there were.
    """

    model = "scripted-policy"

    def __init__(
        self,
        script: Script,
        count: Callable[[str], int] | None = None,
        likely: Callable[[str], list[tuple[float, list[float]]]] | None = None,
        context_length: float = math.inf,
        usage: bool = True,
    ):
        self._script, self._count, self._likely = script, count or (lambda text: len(text.split())), likely
        self._context_length, self._usage = context_length, usage
        self.requests: list[dict[str, Any]] = []
        self.prompt_tokens: list[int] = []
        """Of each request."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._reply(200, {"object": "list", "data": [{"id": outer.model, "object": "model"}]})

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(request)
                self._reply(*outer._answer(request))

            def _reply(self, status: int, body: dict[str, Any]) -> None:
                payload = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = sum(self._count(json.dumps(_without_images(m))) for m in request["messages"])
        self.prompt_tokens.append(prompt)
        room, least = self._context_length - prompt, request.get("max_tokens", 1)
        if least > room:
            return 400, {"error": {"message": _TOO_LONG.format(self._context_length, least, prompt), "code": 400}}
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        said = self._script(turn, request)
        if isinstance(said, int):
            return said, {"error": {"message": "scripted failure"}}
        message = said if isinstance(said, dict) else {"role": "assistant", "content": said}
        completion = self._count(message.get("content") or "")
        cut = completion > request.get("max_tokens", room)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        choice = {"index": 0, "message": message, "finish_reason": "length" if cut else "stop"}
        if self._likely and request.get("logprobs"):
            tokens = [_likelihood(p, others) for p, others in self._likely(message.get("content") or "")]
            choice["logprobs"] = {"content": tokens}
        return 200, {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": [choice],
            **({"usage": usage} if self._usage else {}),
        }


def _likelihood(log_prob: float, others: list[float]) -> dict[str, Any]:
    listed = [{"token": "", "bytes": None, "logprob": other} for other in others]
    return {"token": "", "bytes": None, "logprob": log_prob, "top_logprobs": listed}


def _without_images(message: dict[str, Any]) -> dict[str, Any]:
    if isinstance(message["content"], str):
        return message
    return {**message, "content": [item for item in message["content"] if item["type"] != "image_url"]}
