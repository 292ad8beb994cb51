"""The registered loop in a real AgentLoopWorker, with a scripted engine: what the policy saw and what is recorded."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoProcessor

from longvt_plugins.testing.scripted_llm import ScriptedClient, roll_out
from longvt_plugins.tools import verl_tool
from longvt_plugins.types import Transcript
from longvt_plugins.video import clip_store, content_identity

ROOT = Path(__file__).parents[2]
ANSWER = "<think>I see it.</think><answer>red</answer>"


def call(start_s, end_s, name="crop_video"):
    arguments = json.dumps({"start_time": start_s, "end_time": end_s})
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


@pytest.fixture(scope="module")
def worker(demo, tokenizer):
    """Roll out with a scripted engine: ``(script, rows, *overrides) -> (output, transcripts, client)``."""
    from longvt_plugins.datasets import LongVTDataset

    datasets = {}

    def roll(script, *overrides, rows=1, times=1, change=lambda row: row):
        config = demo.compose("data.max_response_length=600", *overrides)
        data_overrides = tuple(o for o in overrides if o.startswith(("data.", "+data.")))
        if data_overrides not in datasets:
            processor = AutoProcessor.from_pretrained(demo.folder / "model")
            datasets[data_overrides] = LongVTDataset(str(config.data.val_files), tokenizer, config.data, processor)
        client = ScriptedClient(config, tokenizer, script)
        output = roll_out(config, client, [change(datasets[data_overrides][i]) for i in range(rows)] * times)
        transcripts = [Transcript.model_validate(t) for t in output.non_tensor_batch["longvt"]]
        return output, transcripts, client

    return roll


def custom(**options):
    return [f"+actor_rollout_ref.rollout.custom.longvt.{key}={value}" for key, value in options.items()]


def placeholders_match(output, tokenizer, row=0):
    grid = output.non_tensor_batch["multi_modal_inputs"][row]["image_grid_thw"]
    placeholders = int((output.batch["input_ids"][row] == tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum())
    return placeholders == int(grid.prod(-1).sum()) // 4


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


def test_each_frame_of_a_crop_stands_after_its_time(worker, tokenizer):
    output, (transcript,), _ = worker(lambda turn, _: call(3, 5) if turn == 0 else ANSWER)
    (crop,) = transcript.crops_ok()
    text = tokenizer.decode(output.batch["responses"][0])
    for time_s in crop.times_s:
        assert f"[{time_s:.1f} s]<|vision_start|>" in text
    assert placeholders_match(output, tokenizer)


def test_parallel_calls_come_back_in_order(worker, tokenizer):
    output, (transcript,), client = worker(lambda turn, _: call(3, 5) + "\n" + call(7, 9) if turn == 0 else ANSWER)
    assert [crop.span_s for crop in transcript.crops_ok()] == [(3, 5), (7, 9)]
    assert {record.turn for record in transcript.calls} == {0}
    assert transcript.turns[1].text == "4 frames of 3.00 to 5.00 s.\n4 frames of 7.00 to 9.00 s."
    shown = np.stack([np.asarray(image) for image in client.images_seen[1][6:]])
    np.testing.assert_array_equal(shown, np.concatenate([clip_store.get(c.media) for c in transcript.crops_ok()]))
    assert placeholders_match(output, tokenizer)


def test_parallel_calls_run_at_once(worker, monkeypatch):
    """One after another, the first would wait for ever."""
    stock, started = verl_tool.execute, []

    async def execute(*args):
        started.append(args)
        async with asyncio.timeout(20):
            while len(started) < 2:
                await asyncio.sleep(0.01)
        return await stock(*args)

    monkeypatch.setattr(verl_tool, "execute", execute)
    _, (transcript,), _ = worker(lambda turn, _: call(3, 5) + call(7, 9) if turn == 0 else ANSWER)
    assert len(transcript.crops_ok()) == 2


def test_rows_without_tools_or_with_a_choice_of_them(worker, tokenizer):
    def without(row):
        return {**row, "tools_kwargs": None, "extra_info": {**row["extra_info"], "tool_selection": ["none"]}}

    output, (transcript,), _ = worker(lambda turn, _: call(3, 5) if turn == 0 else ANSWER, change=without)
    assert "# Tools" not in tokenizer.decode(output.batch["prompts"][0])
    assert transcript.calls[0].outcome.status == "malformed" and "You may call none" in transcript.turns[1].text
    assert transcript.ended_by == "answer"


def test_one_of_several_videos_is_chosen_by_its_number(worker, demo):
    """The original numbers all videos alike (``video_count`` stays 0) and crops the path that the policy writes."""
    videos = [str(demo.folder / "data" / f"street_{n}.mp4") for n in (0, 1)]

    def both(row):
        user = row["raw_prompt"][1]
        other = [{**item, "path": videos[0]} if item["type"] == "image" else item for item in user["content"]]
        identity = content_identity(videos[0])
        other = [{**item, "identity": identity} if item["type"] == "image" else item for item in other]
        prompt = [row["raw_prompt"][0], {**user, "content": other + user["content"]}]
        return {**row, "raw_prompt": prompt, "tools_kwargs": {"crop_video": {"create_kwargs": {"videos": videos}}}}

    def script(turn, _):
        if turn == 0:
            return call(3, 5) + call(3, 5).replace("}}", ', "video": 1}}') + call(3, 5).replace("}}", ', "video": 2}}')
        return ANSWER

    _, (transcript,), _ = worker(script, change=both)
    assert [record.outcome.status for record in transcript.calls] == ["malformed", "ok", "malformed"]
    assert transcript.crops_ok()[0].media.path == videos[1]
    assert [ref.path for ref in transcript.overview] == videos


def test_the_template_may_open_the_policys_thought(worker, tokenizer):
    output, (transcript,), _ = worker(
        lambda turn, _: [call(3, 5), ANSWER][turn].removeprefix("<think>"),
        "+data.apply_chat_template_kwargs.think=true",
    )
    assert tokenizer.decode(output.batch["prompts"][0]).endswith("<|im_start|>assistant\n<think>")
    assert transcript.turns[-1].text == ANSWER
    assert policy_text(output, 0, tokenizer).endswith(ANSWER.removeprefix("<think>") + "<|im_end|>")


def test_the_call_limit_is_told_and_the_policy_may_still_answer(worker):
    _, (transcript,), _ = worker(lambda turn, _: call(turn, turn + 1) if turn < 3 else ANSWER)
    assert [record.outcome.status for record in transcript.calls] == ["ok"] * 3
    assert "All 3 tool calls are used. Answer now" in transcript.turns[-2].text
    assert transcript.ended_by == "answer" and transcript.limits_met == ("calls",)


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (call("soon", 5), "malformed", "must be a finite number"),
        (call(5, 3), "refused", "end_time must be greater than start_time"),
        (call(100, 200), "refused", "within the video, 0 to 24.00 s"),
        ('<tool_call>\n{"name": "crop_video", "arguments": [1, 2]}\n</tool_call>', "malformed", "one JSON object"),
        ("<tool_call>\n{crop_video 3 5}\n</tool_call>", "malformed", "is not JSON"),
        (call(1, 2)[:-12], "malformed", "is not closed"),
        (call(1, 2, name="open_file"), "malformed", "no such tool"),
    ],
)
def test_a_bad_call_gets_a_reply_to_learn_from(worker, text, status, said):
    """verl's parser drops most of these without a word, and the episode with them."""
    _, (transcript,), _ = worker(lambda turn, _: text if turn == 0 else ANSWER)
    (record,) = transcript.calls
    assert record.outcome.status == status
    assert said in transcript.turns[1].text
    assert transcript.ended_by == "answer"
    assert not transcript.crops_ok()


def test_a_good_call_beside_a_bad_one_is_executed(worker):
    _, (transcript,), _ = worker(lambda turn, _: "<tool_call>{oops</tool_call>" + call(3, 5) if turn == 0 else ANSWER)
    assert [record.outcome.status for record in transcript.calls] == ["malformed", "ok"]


def test_a_vision_token_of_the_policy_ends_it_before_the_token(worker, tokenizer):
    """Stock verl trains on it, and the actor dies: more placeholders than features."""
    output, (transcript,), _ = worker(lambda turn, _: "I see <|vision_start|><|image_pad|><|vision_end|>" + call(3, 5))
    assert transcript.ended_by == "vision_tokens" and not transcript.calls
    assert policy_text(output, 0, tokenizer) == "I see <|vision_start|>"
    assert placeholders_match(output, tokenizer)
    assert output.batch["rollout_log_probs"].shape == output.batch["responses"].shape


def test_a_policy_that_begins_with_a_vision_token_has_no_token_and_not_the_prompts(worker, tokenizer):
    """Stock verl takes the last 0 tokens, which are all."""
    output, (transcript,), _ = worker(lambda turn, _: "<|image_pad|>")
    assert transcript.ended_by == "vision_tokens" and transcript.turns[0].text == ""
    assert output.batch["response_mask"].sum() == 0 and output.batch["responses"].shape[1] == 600
    assert "<|im_start|>user" in tokenizer.decode(output.batch["prompts"][0])
    assert "<|im_start|>" not in tokenizer.decode(output.batch["responses"][0])
    assert placeholders_match(output, tokenizer)


@pytest.mark.parametrize("profile", ["frames-time", "native"])
@pytest.mark.parametrize("name", ["image", "video"])
def test_a_placeholder_spelled_by_other_tokens_ends_it_before_it_is_whole(worker, tokenizer, profile, name):
    """verl decodes what it rolled out, and the processor finds more placeholders than media."""
    spelled = [token for letter in f"<|{name}_pad|>" for token in tokenizer.encode(letter, add_special_tokens=False)]
    before = tokenizer.encode("I see ", add_special_tokens=False)
    output, (transcript,), _ = worker(lambda turn, _: before + spelled * 20, f"+data.longvt.profile={profile}")
    assert transcript.ended_by == "vision_tokens" and transcript.fault is None
    assert policy_text(output, 0, tokenizer) == f"I see <|{name}_pad|"


def test_a_placeholder_that_a_call_spells_stays_text_in_the_reply(worker, tokenizer):
    spelled = r'<tool_call>{"name": "crop_video", "arguments": {"\u003c|image_pad|>": 1}}</tool_call>'
    output, (transcript,), _ = worker(lambda turn, _: spelled if turn == 0 else ANSWER)
    assert transcript.ended_by == "answer" and "< |image_pad|>" in transcript.turns[1].text
    assert placeholders_match(output, tokenizer)


def test_a_turn_that_the_engines_context_cut_is_cut(worker, demo):
    prompt = worker(lambda turn, _: ANSWER)[0].batch["attention_mask"][0][:-600].sum().item()
    context = f"actor_rollout_ref.rollout.max_model_len={prompt + 40}"
    _, (transcript,), _ = worker(lambda turn, ids: "so " * 39, context)
    assert transcript.turns[0].tokens == 40 and transcript.ended_by == "length_limit"


def test_where_replies_do_not_fit_those_to_broken_calls_are_recorded_as_they_were(worker):
    overrides = ("data.max_response_length=110", *custom(answer_tokens=20))
    _, (transcript,), _ = worker(lambda turn, _: "<tool_call>{oops</tool_call>" + call(3, 5), *overrides)
    assert [record.outcome.status for record in transcript.calls] == ["malformed", "refused"]


def test_a_crop_is_reduced_to_the_room_there_is(worker, tokenizer):
    overrides = ("data.max_response_length=170", "+actor_rollout_ref.rollout.custom.longvt.answer_tokens=20")
    output, (transcript,), _ = worker(lambda turn, _: call(3, 5) if turn == 0 else "<answer>red</answer>", *overrides)
    (crop,) = transcript.crops_ok()
    assert crop.reduced and 0 < len(crop.times_s) < 4 and "Little room is left" in crop.reply
    assert transcript.ended_by == "answer"
    assert transcript.turns[1].tokens <= crop.tokens + 30
    assert placeholders_match(output, tokenizer)


def test_without_room_a_crop_is_refused_and_the_policy_may_answer(worker):
    _, (transcript,), _ = worker(
        lambda turn, _: call(3, 5) if turn == 0 else "<answer>red</answer>", *custom(answer_tokens=500)
    )
    (record,) = transcript.calls
    assert record.outcome.status == "refused" and record.outcome.error.kind == "NoRoomError"
    assert "nearly full. Answer now" in transcript.turns[1].text
    assert transcript.ended_by == "answer" and transcript.limits_met == ("room",)


def test_frames_stay_within_what_the_engine_takes(worker):
    _, (transcript,), client = worker(
        lambda turn, _: call(turn, turn + 2) if turn < 2 else ANSWER, "actor_rollout_ref.rollout.limit_images=11"
    )
    assert [len(crop.times_s) for crop in transcript.crops_ok()] == [4, 1]
    assert max(map(len, client.images_seen)) == 11


def test_a_prompt_over_the_limit_is_a_fault_that_says_so(worker):
    # The dataset counts prompts before the run; a rollout with less room than the dataset was told must say so too.
    _, (transcript,), _ = worker(lambda turn, _: ANSWER, "actor_rollout_ref.rollout.prompt_length=100")
    assert transcript.ended_by == "fault" and transcript.fault.kind == "PromptTooLongError"
    assert "max_prompt_length is 100" in transcript.fault.message


def test_a_video_that_vanishes_in_a_trajectory_is_a_failed_call(worker, demo):
    victim = demo.folder / "data" / "street_1.mp4"
    hidden = victim.with_suffix(".hidden")

    def script(turn, _):
        if turn == 0:
            victim.rename(hidden)
            return call(11, 13)
        hidden.rename(victim)
        return ANSWER

    _, (transcript,), _ = worker(script)
    (record,) = transcript.calls
    assert record.outcome.status == "failed" and record.outcome.error.kind == "VideoOpenError"
    assert str(victim) not in transcript.turns[1].text
    assert transcript.ended_by == "answer"


def test_a_tool_that_takes_too_long_is_a_failed_call(worker, demo, tmp_path):
    slow = tmp_path / "slow.yaml"
    tool = (ROOT / "recipes" / "rl" / "tools" / "crop_video_small.yaml").read_text()
    slow.write_text(tool.replace("fps: 2.0", "fps: 2.0\n      deadline_s: 0.000001"))
    override = f"actor_rollout_ref.rollout.multi_turn.tool_config_path={slow}"
    _, (transcript,), _ = worker(lambda turn, _: call(13, 15) if turn == 0 else ANSWER, override)
    assert transcript.calls[0].outcome.status == "failed" and "deadline" in transcript.calls[0].outcome.error.message
    assert "too long" in transcript.turns[1].text and transcript.ended_by == "answer"


def test_longvt_compat_shows_images_without_times_and_names_the_path(worker, tokenizer):
    output, (transcript,), _ = worker(
        lambda turn, _: call(3, 5) if turn == 0 else ANSWER, "+data.longvt.profile=longvt-compat"
    )
    assert transcript.media_profile == "longvt-compat"
    prompt, response = (tokenizer.decode(output.batch[name][0]) for name in ("prompts", "responses"))
    assert " s]<|vision_start|>" not in prompt + response
    assert "The Video path for this video is: " in prompt and "street_1.mp4" in prompt
    assert "The tool executed successfully." in response


def test_endings_are_told_apart(worker):
    assert worker(lambda turn, _: "I do not know.")[1][0].ended_by == "no_answer"
    assert worker(lambda turn, _: call(3, 5))[1][0].ended_by == "call_limit"
    turns = worker(lambda turn, _: call(3, 5), *custom(max_turns=2))[1][0]
    assert turns.ended_by == "turn_limit" and turns.limits_met == ("turns",)
    assert worker(lambda turn, _: "red " * 400)[1][0].ended_by == "length_limit"


def test_a_fault_ends_its_trajectory_and_not_its_siblings(worker):
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


def test_a_reply_that_cannot_be_added_ends_it(worker):
    """Not even the refusal fits: nothing is added, and the calls are on record."""
    output, (transcript,), _ = worker(lambda turn, _: call(3, 5), "data.max_response_length=60")
    assert transcript.ended_by == "length_limit"
    assert [turn.role for turn in transcript.turns] == ["assistant"]
    assert [record.outcome.status for record in transcript.calls] == ["refused"]
    assert int(output.batch["response_mask"][0].sum()) == transcript.turns[0].tokens


def test_what_verl_cuts_off_is_not_in_the_record(worker, tokenizer):
    """An answer beyond the response length is not trained on, so it must not be scored either."""
    output, (transcript,), _ = worker(lambda turn, _: "so " * 60 + ANSWER, "data.max_response_length=40")
    assert transcript.ended_by == "length_limit" and "<answer>" not in transcript.turns[0].text
    assert transcript.turns[0].tokens == 40
    assert transcript.turns[0].text == policy_text(output, 0, tokenizer)


def test_an_answer_that_just_fits_is_an_answer(worker, tokenizer):
    length = len(tokenizer.encode(ANSWER + "<|im_end|>"))
    answers = f"data.max_response_length={length}"
    assert worker(lambda turn, _: ANSWER, answers)[1][0].ended_by == "answer"
    assert worker(lambda turn, _: ANSWER + " and", answers)[1][0].ended_by == "length_limit"


def test_eight_rollouts_of_a_prompt_decode_its_overview_once(worker, store, monkeypatch):
    decoded = []
    stock = clip_store._decode
    monkeypatch.setattr(clip_store, "_decode", lambda ref, deadline: decoded.append(ref) or stock(ref, deadline))
    _, transcripts, client = worker(lambda turn, _: ANSWER, times=8)
    assert len(transcripts) == 8 and all(len(images) == 6 for images in client.images_seen)
    assert decoded == [transcripts[0].overview[0]]
