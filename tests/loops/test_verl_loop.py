"""The registered loop in a real AgentLoopWorker, with a scripted engine: what the policy saw and what is recorded."""

import json

import numpy as np
import pytest

from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.types import Transcript
from longvt_plugins.video import clip_store

ANSWER = "<think>I see it.</think><answer>red</answer>"


def call(start_s, end_s, name="crop_video"):
    arguments = json.dumps({"start_time": start_s, "end_time": end_s})
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture(scope="module")
def worker(demo, dataset, tokenizer):
    config = demo.compose("actor_rollout_ref.rollout.custom.longvt.max_calls=2", "data.max_response_length=600")

    def roll(script, rows=1):
        client = ScriptedClient(config, tokenizer, script)
        output = roll_out(config, client, [dataset[i] for i in range(rows)])
        transcripts = [Transcript.model_validate(t) for t in output.non_tensor_batch["longvt"]]
        return output, transcripts, client

    return roll


def policy_text(output, row, tokenizer):
    """What the response mask marks as the policy's own, decoded."""
    responses, mask = output.batch["responses"][row], output.batch["response_mask"][row].bool()
    return tokenizer.decode(responses[mask])


def test_crop_then_answer_is_seen_recorded_and_masked(worker, tokenizer):
    output, (transcript,), client = worker(lambda turn, _: call(3, 5) if turn == 0 else ANSWER)
    assert transcript.ended_by == "answer"
    assert [turn.role for turn in transcript.turns] == ["assistant", "tool", "assistant"]
    (crop,) = transcript.crops_ok()
    assert crop.span_s == (3, 5) and len(crop.times_s) == 4
    assert all(3 <= t <= 5 for t in crop.times_s)
    overview, after_crop = client.images_seen
    assert len(overview) == len(transcript.overview[0].times_s) == 6
    shown = np.stack([np.asarray(image) for image in after_crop[6:]])
    np.testing.assert_array_equal(shown, clip_store.get(crop.media))
    assert policy_text(output, 0, tokenizer) == call(3, 5) + "<|im_end|>" + ANSWER + "<|im_end|>"


def test_image_placeholders_match_the_features(worker, tokenizer):
    output, _, _ = worker(lambda turn, _: call(3, 5) if turn == 0 else ANSWER)
    grid = output.non_tensor_batch["multi_modal_inputs"][0]["image_grid_thw"]
    placeholders = int((output.batch["input_ids"][0] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum())
    assert placeholders == int(grid.prod(-1).sum()) // 4


def test_parallel_calls_come_back_in_order(worker):
    _, (transcript,), _ = worker(lambda turn, _: call(3, 5) + "\n" + call(7, 9) if turn == 0 else ANSWER)
    assert [crop.span_s for crop in transcript.crops_ok()] == [(3, 5), (7, 9)]
    assert {record.turn for record in transcript.calls} == {0}
    assert "of 3.00 to 5.00 s" in transcript.turns[1].text and "of 7.00 to 9.00 s" in transcript.turns[1].text


def test_calls_beyond_the_limit_are_refused_and_the_policy_may_still_answer(worker):
    _, (transcript,), _ = worker(lambda turn, _: call(turn, turn + 1) if turn < 3 else ANSWER)
    assert [record.outcome.status for record in transcript.calls] == ["ok", "ok", "refused"]
    assert "Answer now" in transcript.turns[-2].text
    assert transcript.ended_by == "answer"


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (call("soon", 5), "malformed", "must be a finite number"),
        (call(5, 3), "refused", "end_time must be greater than start_time"),
        (call(100, 200), "refused", "within the video, 0 to 24.00 s"),
        ('<tool_call>\n{"name": "crop_video", "arguments": [1, 2]}\n</tool_call>', "malformed", "one JSON object"),
        (call(1, 2, name="open_file"), "refused", "Unknown function"),
    ],
)
def test_a_bad_call_gets_a_reply_to_learn_from(worker, text, status, said):
    _, (transcript,), _ = worker(lambda turn, _: text if turn == 0 else ANSWER)
    (record,) = transcript.calls
    assert record.outcome.status == status
    assert said in transcript.turns[1].text
    assert transcript.ended_by == "answer"
    assert not transcript.crops_ok()


def test_endings_are_told_apart(worker):
    assert worker(lambda turn, _: "I do not know.")[1][0].ended_by == "no_answer"
    assert worker(lambda turn, _: call(3, 5))[1][0].ended_by == "turn_limit"
    assert worker(lambda turn, _: "red " * 400)[1][0].ended_by == "length_limit"


def test_a_fault_ends_its_trajectory_and_not_its_siblings(worker, dataset):
    def script(turn, prompt_ids):
        script.calls += 1
        if script.calls == 1:
            raise OSError("engine gone")
        return ANSWER

    script.calls = 0
    output, transcripts, _ = worker(script, rows=3)
    faulted = [t for t in transcripts if t.ended_by == "fault"]
    assert len(faulted) == 1 and faulted[0].fault.kind == "OSError" and "engine gone" in faulted[0].fault.message
    assert sum(t.ended_by == "answer" for t in transcripts) == 2
    row = transcripts.index(faulted[0])
    assert int(output.batch["response_mask"][row].sum()) == 0


def test_a_dropped_tool_response_is_seen(demo, dataset, tokenizer):
    config = demo.compose("data.max_response_length=60")
    client = ScriptedClient(config, tokenizer, lambda turn, _: call(3, 5) if turn == 0 else ANSWER)
    output = roll_out(config, client, [dataset[0]])
    transcript = Transcript.model_validate(output.non_tensor_batch["longvt"][0])
    assert transcript.ended_by == "length_limit"
    assert [turn.role for turn in transcript.turns] == ["assistant"]


def test_what_verl_cuts_off_is_not_in_the_record(demo, dataset, tokenizer):
    """An answer beyond the response length is not trained on, so it must not be scored either."""
    config = demo.compose("data.max_response_length=40")
    client = ScriptedClient(config, tokenizer, lambda turn, _: "so " * 60 + ANSWER)
    output = roll_out(config, client, [dataset[0]])
    transcript = Transcript.model_validate(output.non_tensor_batch["longvt"][0])
    assert transcript.ended_by == "length_limit" and "<answer>" not in transcript.turns[0].text
    assert transcript.turns[0].tokens == 40
    assert transcript.turns[0].text == policy_text(output, 0, tokenizer)
