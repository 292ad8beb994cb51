"""Each check passes on what the package does, and catches, by its own name, the fault it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from longvt_plugins.verify import checks
from longvt_plugins.verify.actor import Actor
from longvt_plugins.verify.run import changed_pixels, planned_runs, verify
from longvt_plugins.verify.sample import Generation


@pytest.fixture(scope="module")
def setting(sessions):
    return sessions("frames-time")


@pytest.fixture(scope="module")
def sample(setting):
    """A trajectory with two crops, one after another."""
    _, samples = setting
    return next(s for s in samples if len(s.transcript.crops_ok()) == 2 and len(s.generations) == 3)


def without(sample, index):
    """``sample`` with one token dropped."""
    response = index - sample.prompt_length
    return replace(
        sample,
        input_ids=np.delete(sample.input_ids, index),
        position_ids=np.delete(sample.position_ids, index, axis=1),
        response_mask=np.delete(sample.response_mask, response),
    )


@pytest.mark.parametrize("profile", ["frames-time", "longvt-compat", "native"])
def test_all_is_well(sessions, profile, monkeypatch):
    session, samples = sessions(profile)
    monkeypatch.setattr(type(session), "samples", lambda self: samples)
    findings = verify(session)
    assert [finding.check for finding in findings if not finding.ok] == [], findings
    assert {"ids", "mask", "rendering", "placeholders", "frames", "positions", "equal lengths", "pixels"} <= {
        finding.check for finding in findings
    }


def test_a_dropped_newline(sample):
    # The one that the builder puts after <|im_end|>, where generation stops.
    newline = len(sample.generations[0].prompt_ids) + len(sample.generations[0].token_ids)
    assert not checks.check_rendering(without(sample, newline)).ok
    assert checks.check_rendering(sample).ok


def test_a_dropped_image(sample, setting):
    session, _ = setting
    rows = int(sample.grids("image")[-1].prod())
    features = {
        "image_grid_thw": sample.features["image_grid_thw"][:-1],
        "pixel_values": sample.features["pixel_values"][:-rows],
    }
    found = checks.check_placeholders(replace(sample, features=features), session.spec)
    assert not found.ok and found.check == "placeholders"


def test_a_swapped_grid(sample, setting):
    session, _ = setting
    grid = sample.features["image_grid_thw"].clone()
    grid[[0, -1]] = grid[[-1, 0]]
    assert not torch.equal(grid, sample.features["image_grid_thw"])
    changed = replace(sample, features={**sample.features, "image_grid_thw": grid})
    assert not checks.check_placeholders(changed, session.spec).ok
    assert not checks.check_positions(changed, session.spec).ok


def test_a_shifted_mask(sample):
    found = checks.check_mask(replace(sample, response_mask=np.roll(sample.response_mask, 1)))
    assert not found.ok and found.check == "mask"


def test_ids_that_the_engine_never_saw(sample):
    ids = sample.input_ids.copy()
    ids[len(sample.generations[1].prompt_ids) - 3] += 1
    assert not checks.check_ids(replace(sample, input_ids=ids)).ok


def test_frames_that_a_processor_resized(sample, setting):
    session, _ = setting
    planned = planned_runs(sample, session)
    assert checks.check_frames(sample, session.spec, planned).ok
    assert not checks.check_frames(sample, session.spec, [planned[0] + 1, *planned[1:]]).ok


def test_wrong_seconds_per_grid(sessions):
    session, samples = sessions("native")
    right = session.seconds_per_grid(samples[0])
    assert checks.check_seconds(samples[0], right).ok and checks.check_positions(samples[0], session.spec).ok
    wrong = {**samples[0].features, "second_per_grid_ts": [right[0] / 2]}
    found = checks.check_seconds(replace(samples[0], features=wrong), right)
    assert not found.ok and found.check == "seconds"
    assert not checks.check_positions(replace(samples[0], features=wrong), session.spec).ok


def test_a_batch_of_equal_lengths_without_the_work_around(setting, monkeypatch):
    from verl.utils import tensordict_utils

    _, samples = setting
    assert checks.check_equal_lengths(samples).ok
    stock = tensordict_utils.maybe_fix_3d_position_ids.__wrapped__
    monkeypatch.setattr(tensordict_utils, "maybe_fix_3d_position_ids", stock)
    found = checks.check_equal_lengths(samples)
    assert not found.ok and found.check == "equal lengths"


def test_probabilities_that_differ(setting):
    session, samples = setting
    actor = [Actor(session.model, autocast=False).log_probs(sample) for sample in samples]
    agree = [
        replace(s, engine_log_probs=a, sampled_log_probs=np.full(len(a), np.nan))
        for s, a in zip(samples, actor, strict=True)
    ]
    assert checks.check_log_probs(agree, actor, 1e-6, 0.999999).ok
    shifted = [replace(s, engine_log_probs=np.roll(s.engine_log_probs, 1)) for s in agree]
    found = checks.check_log_probs(shifted, actor, 1e-3, 0.9999)
    assert not found.ok and found.figures["tokens"] == sum(s.response_mask.sum() for s in samples)


@pytest.mark.parametrize("lost", [np.nan, -np.inf, np.inf])
@pytest.mark.parametrize("by", ["scoring", "sampling"])
def test_tokens_without_a_probability(sample, lost, by):
    """Of 200 tokens the engine gives 190 none; what is left agrees."""
    actor = np.log(np.random.default_rng(0).uniform(0.01, 1, 200))
    engine = np.where(np.arange(200) < 190, lost, actor)
    prompt = tuple(range(10))
    written = replace(
        sample,
        prompt_length=10,
        response_mask=np.ones(200, bool),
        generations=(Generation(prompt, tuple(range(200)), forced=by == "scoring"),),
        engine_log_probs=engine if by == "scoring" else actor,
        sampled_log_probs=np.full(200, np.nan) if by == "scoring" else engine,
    )
    found = checks.check_log_probs([written], [actor], 1e-4, 0.9999)
    assert not found.ok and f"190 of the engine's {200 if by == 'scoring' else 400}" in found.detail
    assert str(lost) in found.detail


def test_a_rollout_without_a_crop_proves_nothing_about_pixels(sample):
    uncropped = replace(sample, transcript=sample.transcript.model_copy(update={"calls": ()}))
    found = changed_pixels(None, [uncropped])
    assert not found.ok and found.check == "pixels" and "no trajectory has a crop" in found.detail


def test_frames_that_do_not_reach_the_model(setting):
    session, samples = setting
    actor = Actor(session.model, autocast=False)
    assert changed_pixels(actor, samples).ok
    same = actor.log_probs(samples[0])
    assert not checks.check_pixels(same, same, samples[0].response_mask).ok
