"""What stock ``main_ppo`` did with our parts inside."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from data_prep.demo_footage import COLOURS, EVENT_TIMES_S
from longvt_plugins.reward import compute_reward, extract_answer
from longvt_plugins.video import clip_store, read_frames

STEPS, PROMPTS, GROUP = 3, 4, 4


@pytest.fixture(scope="module")
def train(run):
    return run.trajectories("train")


@pytest.fixture(scope="module")
def rows(run):
    import pyarrow.parquet as pq

    tables = [pq.read_table(run.folder / "data" / f"{split}.parquet").to_pylist() for split in ("train", "val")]
    return {row["extra_info"]["index"]: row for table in tables for row in table}


def test_it_finished_and_left_nothing_running(run):
    assert run.code == 0, run.output
    assert run.left_running == []
    for phase in ("validation rollouts", "step 1/3: rollouts", "step 3/3: policy update", "finished after"):
        assert phase in run.output


def test_every_trajectory_is_on_disk_once(run, train):
    assert Counter(record.step for record in train) == {step: PROMPTS * GROUP for step in range(1, STEPS + 1)}
    assert len({(record.step, record.group, record.session) for record in train}) == len(train)
    assert set(Counter((record.step, record.group) for record in train).values()) == {GROUP}
    assert len(run.trajectories("val")) == 5


def test_most_of_the_policys_calls_were_executed_on_the_real_videos(train):
    crops = [crop for record in train for crop in record.transcript.crops_ok()]
    assert len(crops) > len(train) / 4
    assert all(Path(crop.media.path).suffix == ".mp4" for crop in crops)


def test_calls_of_every_kind_were_trained_on(train):
    """In parallel, unreadable, and too large for the room that is left: all came back, all within the response."""
    calls = [[c for c in record.transcript.calls if c.turn == turn] for record in train for turn in (0, 2)]
    parallel = [[c.outcome for c in turn] for turn in calls if len(turn) > 1]
    # Each was executed, or refused with the reason: its half of the room may be too small for a frame.
    assert any(all(outcome.text for outcome in turn) for turn in parallel)
    outcomes = [call.outcome for turn in calls for call in turn]
    assert any(outcome.status == "malformed" for outcome in outcomes)
    assert any(outcome.reduced for outcome in outcomes)
    assert all(outcome.text for outcome in outcomes if outcome.status == "malformed")
    assert max(len(record.response_ids) for record in train) <= 320


def test_frames_the_policy_saw_are_the_files_frames(train):
    """The digest of the shown pixels is that of the file's frames at the recorded times, read again here."""
    import hashlib

    crops = [c for r in train for c in r.transcript.crops_ok() if Path(c.media.path).exists()]
    for crop in crops[:20]:
        again = clip_store.get(crop.media)
        assert hashlib.blake2b(again, digest_size=16).hexdigest() == crop.digest
        full = read_frames(crop.media.path, crop.times_s).pixels
        assert abs(full.mean((1, 2)) - again.mean((1, 2))).max() < 4


def test_a_crop_of_the_event_shows_its_colour(train, rows):
    checked = 0
    for record in train:
        row = rows[record.sample_index]
        (start_s, end_s), truth = row["extra_info"]["segments"][0], row["reward_model"]["ground_truth"]
        colour = truth.removeprefix("a square, ")
        for crop in record.transcript.crops_ok():
            if colour not in COLOURS or not Path(crop.media.path).exists():
                continue
            for time_s, frame in zip(crop.times_s, clip_store.get(crop.media), strict=True):
                distance = np.abs(frame.astype(int) - COLOURS[colour]).max(-1)
                shows = (distance < 60).mean() > 0.1
                if start_s <= time_s < end_s:
                    assert shows, (record.sample_index, time_s)
                    checked += 1
                elif all(abs(time_s - event_s) > 1 for event_s in EVENT_TIMES_S):
                    assert not shows, (record.sample_index, time_s)
    assert checked >= 10


def test_the_mask_marks_exactly_the_policys_words(run, train):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(run.folder / "model")
    for record in train:
        ids, mask = np.array(record.response_ids), np.array(record.response_mask, bool)
        assert len(ids) == len(mask) == len(record.rollout_log_probs)
        said = "".join(turn.text for turn in record.transcript.turns if turn.role == "assistant")
        assert tokenizer.decode(ids[mask], skip_special_tokens=True) == said
        assert np.array(record.rollout_log_probs)[~mask].sum() == 0


def test_rewards_follow_from_the_transcripts_and_the_ledger(run, train, rows):
    verdicts = run.verdicts()
    for record in train:
        row = rows[record.sample_index]
        info = row["extra_info"]
        sample = {"options": info["options"], "segments": info["segments"], "question": info["question"]}
        entries = verdicts.get(record.reward.verdict_key, [None])
        again = [
            compute_reward(record.transcript, row["reward_model"]["ground_truth"], **sample, verdict=e and e.verdict)
            for e in entries
        ]
        assert record.reward in again


def test_undecidable_answers_abstain_and_vanished_videos_fault(train, rows):
    abstained = [record for record in train if record.reward.abstained]
    faulted = [record for record in train if record.reward.faulted]
    assert abstained and all(not rows[record.sample_index]["extra_info"]["options"] for record in abstained)
    assert faulted and all("street_1.mp4" in record.reward.reason for record in faulted)
    assert {record.transcript.fault.kind for record in faulted} == {"VideoOpenError"}
    for record in abstained + faulted:
        assert not record.included and record.advantage == 0


def test_the_judge_decided_what_rules_could_not(train, rows):
    judged = [record for record in train if record.reward.decided_by == "judge"]
    assert judged
    for record in judged:
        said = extract_answer(record.transcript.turns[-1].text)
        assert record.reward.acc == float(said.casefold() in rows[record.sample_index]["reward_model"]["ground_truth"])
        assert record.reward.judge_id == "scripted-judge"


def test_the_outage_cost_its_verdicts_and_nothing_else(run, train):
    """The judge died while step 2 rolled out: what it was asked then abstained, and step 3 was judged again."""
    by_step = {step: [r for r in train if r.step == step] for step in range(1, STEPS + 1)}
    lost = {s: [r for r in records if "unreachable" in r.reward.reason] for s, records in by_step.items()}
    assert lost[2] and not lost[1] and not lost[3]
    assert all(record.reward.abstained and not record.included for record in lost[2])
    assert run.asked_after_the_outage > 0
    answered = [r for r in by_step[3] if r.reward.decided_by == "judge" or "unparsable" in r.reward.reason]
    assert answered, "a reply without a verdict is one, too"


def test_a_question_cost_one_call(run):
    """Of equal questions only abstentions are asked again."""
    for entries in run.verdicts().values():
        assert [entry.verdict.status for entry in entries[:-1]] == ["abstain"] * (len(entries) - 1)


def test_advantages_are_grpos_among_the_included(train):
    groups = defaultdict(list)
    for record in train:
        groups[record.step, record.group].append(record)
    for members in groups.values():
        scores = np.array([record.reward.score for record in members if record.included])
        assert len(scores) != 1
        for record in members:
            expected = (record.reward.score - scores.mean()) / (scores.std(ddof=1) + 1e-6) if record.included else 0
            assert record.advantage == pytest.approx(expected, abs=1e-3)
    assert any(record.advantage for record in train)


def test_metrics_count_what_happened(run, train):
    for step, metrics in run.metrics().items():
        if step == 0:
            continue
        records = [record for record in train if record.step == step]
        assert metrics["longvt/calls/all"] == pytest.approx(np.mean([r.reward.tool_calls for r in records]))
        assert metrics["longvt/rate/faulted"] == pytest.approx(np.mean([r.reward.faulted for r in records]))
        assert metrics["longvt/rate/included"] == pytest.approx(np.mean([r.included for r in records]))
        scores = [r.reward.score for r in records if not (r.reward.abstained or r.reward.faulted)]
        assert metrics["critic/score/mean"] == pytest.approx(np.mean(scores))
        assert all(np.isfinite(value) for value in metrics.values() if isinstance(value, float))


def test_rollout_and_actor_agree(run):
    differences = [m["training/rollout_probs_diff_mean"] for step, m in run.metrics().items() if step]
    assert len(differences) == STEPS and max(differences) < 1e-3


def test_new_weights_reach_the_rollout_engine(run, train):
    """Step 3 was sampled with the weights saved after step 2, and not with those the run began with."""
    record = max((r for r in train if r.step == 3 and not r.reward.faulted), key=lambda r: r.reward.crops_ok)
    start, updated = _log_probs(run, record, None), _log_probs(run, record, 2)
    mask = np.array(record.response_mask, bool)
    recorded = np.array(record.rollout_log_probs)[mask]
    assert np.abs(updated[mask] - recorded).max() < 1e-3
    assert np.abs(start[mask] - recorded).max() > 5e-3
    assert record.weights_step == (2, 2)


def _log_probs(run, record, step: int | None) -> np.ndarray:
    """Log-probabilities of the response under the weights after ``step`` (None: before training)."""
    import torch
    from PIL import Image
    from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(run.folder / "model").eval()
    if step is not None:
        saved = run.folder / "train" / f"global_step_{step}" / "actor" / "model_world_size_1_rank_0.pt"
        state = torch.load(saved, weights_only=False)
        model.load_state_dict({k: v.to_local() if hasattr(v, "to_local") else v for k, v in state.items()})
    references = [*record.transcript.overview, *(crop.media for crop in record.transcript.crops_ok())]
    images = [Image.fromarray(frame) for reference in references for frame in clip_store.get(reference)]
    vision = AutoProcessor.from_pretrained(run.folder / "model").image_processor(images, return_tensors="pt")
    ids = torch.tensor([record.prompt_ids + record.response_ids])
    types = (ids == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=types, **vision).logits
    n = len(record.response_ids)
    every = torch.log_softmax(logits[0, -n - 1 : -1] / 0.7, -1)
    return every.gather(-1, ids[0, -n:, None])[:, 0].numpy()
