"""The episode over a socket: the same rules, the same frames, the same token ids as in verl's rollout."""

import asyncio
import base64
import io
import json

import numpy as np
import pytest
import yaml
from openai import AsyncOpenAI
from PIL import Image
from transformers import AutoProcessor

from longvt_plugins.errors import ProfileError
from longvt_plugins.loops.openai_loop import OpenAILoop
from longvt_plugins.loops.options import LoopOptions
from longvt_plugins.testing.chat_server import ChatServer
from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.tokens.profiles import profile_named
from longvt_plugins.tokens.render import render
from longvt_plugins.tools.verl_tool import read_options
from longvt_plugins.types import Transcript
from longvt_plugins.video import clip_store

ANSWER = "<think>I see it.</think><answer>red</answer>"


def call(start_s, end_s):
    arguments = json.dumps({"start_time": start_s, "end_time": end_s})
    return f'<tool_call>\n{{"name": "crop_video", "arguments": {arguments}}}\n</tool_call>'


PLAYS = {
    "parallel crops": [call(3, 5) + "\n" + call(7, 9), ANSWER],
    "malformed, refused, then right": ["<tool_call>{oops</tool_call>", call(5, 3), call(3, 5), ANSWER],
    "the limit is met": [call(1, 2), call(3, 4), call(5, 6), ANSWER],
    "no call": [ANSWER],
}


@pytest.fixture(scope="module")
def tool(demo):
    config = demo.compose().actor_rollout_ref.rollout.multi_turn.tool_config_path
    with open(config) as file:
        (tool,) = yaml.safe_load(file)["tools"]
    return tool


@pytest.fixture(scope="module")
def ask(dataset, tokenizer, tool):
    """Converse with a scripted server: ``(script, **changes) -> (conversation, server)``."""
    row = dataset[0]

    def run(script, **changes):
        changes.setdefault("response_length", 600)
        options = LoopOptions.of({"custom": {"longvt": changes.pop("custom", {"max_calls": 3, "max_turns": 4})}}, 600)

        async def converse(server):
            async with AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=30) as client:
                fields = {
                    "tools": [tool["tool_schema"]],
                    "crop": read_options(tool["config"]),
                    "profile": profile_named(None),
                }
                loop = OpenAILoop(client, server.model, options, **(fields | changes))
                return await loop.run(row["raw_prompt"], row["tools_kwargs"]["crop_video"]["create_kwargs"]["videos"])

        how = {"count": lambda text: len(tokenizer.encode(text))}
        how |= {key: changes.pop(key) for key in ("count", "context_length", "usage") if key in changes}
        with ChatServer(script, **how) as server:
            return asyncio.run(converse(server)), server

    return run


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS.keys())
def test_both_loops_make_the_same_conversation_and_the_same_token_ids(ask, play, demo, dataset, tokenizer, tool):
    conversation, _ = ask(lambda turn, _: play[turn])
    config = demo.compose("data.max_response_length=600")
    output = roll_out(config, ScriptedClient(config, tokenizer, lambda turn, _: play[turn]), [dataset[0]])
    verls = Transcript.model_validate(output.non_tensor_batch["longvt"][0])
    ours = conversation.transcript
    assert [turn.text for turn in ours.turns] == [turn.text for turn in verls.turns]
    assert [(r.call, r.outcome.status, r.outcome.media) for r in ours.calls] == [
        (r.call, r.outcome.status, r.outcome.media) for r in verls.calls
    ]
    assert (ours.ended_by, ours.limits_met, ours.overview) == (verls.ended_by, verls.limits_met, verls.overview)
    processor = AutoProcessor.from_pretrained(demo.folder / "model")
    ids, _ = render(processor, conversation.messages, [tool["tool_schema"]])
    kept = output.batch["attention_mask"][0].bool()
    # A rendered turn ends with a newline that generation, which stops at <|im_end|>, does not produce.
    assert ids == output.batch["input_ids"][0][kept].tolist() + tokenizer.encode("\n")


def test_the_server_gets_the_very_pixels(ask):
    conversation, server = ask(lambda turn, _: [call(3, 5), ANSWER][turn])
    items = [item for m in server.requests[1]["messages"] if isinstance(m["content"], list) for item in m["content"]]
    urls = [item["image_url"]["url"] for item in items if item["type"] == "image_url"]
    sent = [np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))) for url in urls]
    (crop,) = conversation.transcript.crops_ok()
    np.testing.assert_array_equal(np.stack(sent[-4:]), clip_store.get(crop.media))
    assert len(sent) == 6 + 4
    assert server.requests[1]["tool_choice"] == "none" and server.requests[1]["tools"]


def test_every_turn_carries_the_whole_history(ask):
    _, server = ask(lambda turn, _: [call(1, 2), call(3, 4), ANSWER][turn])
    roles = [[message["role"] for message in request["messages"]] for request in server.requests]
    assert roles[2] == ["system", "user", "assistant", "tool", "assistant", "tool"]


def test_calls_that_the_server_parsed_are_put_together_again(ask):
    parsed = {
        "role": "assistant",
        "content": "<think>look</think>",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "crop_video", "arguments": '{"start_time": 3, "end_time": 5}'},
            }
        ],
    }
    conversation, server = ask(lambda turn, _: [parsed, ANSWER][turn], native_calls=True)
    assert conversation.transcript.crops_ok()[0].span_s == (3, 5)
    assert conversation.transcript.turns[0].text == "<think>look</think>\n" + call(3, 5)
    assert server.requests[0]["tool_choice"] == "auto"


def test_a_failing_server_is_a_fault_and_never_raises(ask):
    conversation, _ = ask(lambda turn, _: [call(3, 5), 500][turn])
    transcript = conversation.transcript
    assert transcript.ended_by == "fault" and transcript.fault.kind == "InternalServerError"
    assert len(transcript.crops_ok()) == 1


def test_a_server_whose_context_ends_first_ends_the_conversation_at_its_length(ask, tokenizer):
    def script(turn, _):
        return [call(3, 5), ANSWER][turn]

    def ask_with_room(tokens):
        """For the second turn, since the server counts more tokens in what the tool said than was allowed for."""

        def count(text):
            return len(tokenizer.encode(text)) + (context - after - tokens) * ('"role": "tool"' in text)

        return ask(script, count=count, context_length=context)

    _, server = ask(script)
    before, after = server.prompt_tokens
    context = before + 600
    conversation, server = ask_with_room(100)
    assert conversation.transcript.turns[-1].text == ANSWER and conversation.transcript.ended_by == "answer"
    assert ["max_tokens" in request for request in server.requests] == [True, True, False]
    conversation, _ = ask_with_room(0)
    assert conversation.transcript.ended_by == "length_limit" and len(conversation.transcript.calls) == 1
    conversation, _ = ask(script, context_length=before + 599)
    assert conversation.transcript.ended_by == "fault" and "context length" in conversation.transcript.fault.message


def test_the_budget_holds_over_http_too(ask):
    conversation, server = ask(lambda turn, _: [call(3, 5), "<answer>red</answer>"][turn], response_length=230)
    (crop,) = conversation.transcript.crops_ok()
    assert crop.reduced and 0 < len(crop.times_s) < 4
    assert server.requests[0]["max_tokens"] == 230 > server.requests[1]["max_tokens"]
    conversation, _ = ask(lambda turn, _: "so " * 300, response_length=100)
    assert conversation.transcript.ended_by == "length_limit"


def test_replies_to_broken_calls_are_counted_too(ask):
    conversation, server = ask(lambda turn, _: ["<tool_call>{oops</tool_call>", ANSWER][turn])
    reply = conversation.transcript.turns[1]
    assert reply.tokens >= len(reply.text)
    assert server.requests[1]["max_tokens"] <= 600 - len(reply.text)


def test_a_server_that_counts_nothing_is_charged_by_the_text(ask):
    conversation, server = ask(lambda turn, _: [call(3, 5), ANSWER][turn], usage=False)
    assert server.requests[1]["max_tokens"] <= 600 - len(call(3, 5))
    assert conversation.transcript.turns[0].tokens == len(call(3, 5))


def test_a_placeholder_that_the_policy_spells_ends_the_conversation_before_it(ask):
    conversation, server = ask(lambda turn, _: "I see <|image_pad|>" + call(3, 5))
    assert conversation.transcript.ended_by == "vision_tokens" and len(server.requests) == 1
    assert conversation.transcript.turns[0].text == "I see " and not conversation.transcript.calls


def test_half_a_character_of_a_server_can_be_recorded(ask):
    conversation, _ = ask(lambda turn, _: "\ud83d" + ANSWER, count=len)
    assert conversation.transcript.turns[0].text == "?" + ANSWER
    assert Transcript.model_validate_json(conversation.transcript.model_dump_json()) == conversation.transcript


def test_video_tokens_are_refused_over_http(ask):
    with pytest.raises(ProfileError, match="no place for the times"):
        ask(lambda turn, _: ANSWER, profile=profile_named("native"))
