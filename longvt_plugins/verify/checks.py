"""The checks, each of one sample or of a batch, each named after what it proves. They need no model.

``ids``           the trainer's token ids are those the engine read and wrote, in every turn
``mask``          the response mask marks exactly the tokens that the policy wrote
``rendering``     turn by turn gives the ids that the template gives at once (no newline, no tag lost)
``placeholders``  every placeholder belongs to a feature: their runs are the grids, in order
``frames``        frames have the size that was planned: no processor resized them, so budgets hold
``seconds``       the time between the grids of a video is that of its frames
``positions``     position ids follow the one rule (``tokens.positions``)
``equal lengths`` a batch whose sequences all have one length keeps its position ids
``log-probs``     engine and actor give the policy's tokens the same probabilities, and give each of them one
``pixels``        another pixel in a crop changes the probability of the answer: the frames reach the model
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from longvt_plugins.errors import DataError
from longvt_plugins.tokens.positions import PositionSpec, position_ids

from .sample import Finding, Sample


def check_ids(sample: Sample) -> Finding:
    ids = sample.input_ids
    for turn, generation in enumerate(sample.generations):
        seen = np.array(generation.prompt_ids + generation.token_ids)[: len(ids)]
        end = min(len(seen), len(ids))
        differ = np.flatnonzero(seen[:end] != ids[:end])
        if len(differ) or (len(seen) > len(ids) and turn < len(sample.generations) - 1):
            where = int(differ[0]) if len(differ) else end
            return Finding("ids", False, f"turn {turn}: token {where} is another for the trainer than for the engine")
    last = sample.generations[-1]
    if len(ids) > len(last.prompt_ids) + len(last.token_ids):
        return Finding("ids", False, "the trainer has tokens after the policy's last turn")
    return Finding("ids", True, f"{len(sample.generations)} generations")


def check_mask(sample: Sample) -> Finding:
    expected = np.zeros(len(sample.input_ids), bool)
    for generation in sample.generations:
        start = len(generation.prompt_ids)
        expected[start : start + len(generation.token_ids)] = True
    expected = expected[sample.prompt_length :]
    differ = np.flatnonzero(expected != sample.response_mask)
    if len(differ):
        owner = "the policy's" if expected[differ[0]] else "not the policy's"
        return Finding(
            "mask", False, f"response token {differ[0]} is {owner} and marked otherwise ({len(differ)} in all)"
        )
    return Finding("mask", True, f"{int(expected.sum())} of {len(expected)} response tokens are the policy's")


def check_rendering(sample: Sample) -> Finding:
    rendered = sample.rendered_ids
    ids = sample.input_ids[: len(rendered)]
    differ = np.flatnonzero(ids != rendered[: len(ids)])
    if len(ids) < len(rendered) or len(differ):
        where = int(differ[0]) if len(differ) else len(ids)
        return Finding("rendering", False, f"token {where} differs from the conversation rendered at once")
    return Finding("rendering", True, f"{len(rendered)} tokens")


def check_placeholders(sample: Sample, spec: PositionSpec) -> Finding:
    for kind, token in (("image", spec.image_token_id), ("video", spec.video_token_id)):
        grids = sample.grids(kind)
        if kind == "video" and spec.family == "qwen3_vl":
            grids = np.array([(1, h, w) for t, h, w in grids.tolist() for _ in range(t)]).reshape(-1, 3)
        wanted = (grids.prod(-1) // spec.merge_size**2).tolist()
        found = _runs(sample.input_ids, token)
        if found != wanted:
            return Finding(
                "placeholders", False, f"{kind} placeholders in runs of {found}, features in grids of {wanted}"
            )
        name = "pixel_values" if kind == "image" else "pixel_values_videos"
        rows = len(sample.features.get(name, ()))
        if rows != int(sample.grids(kind).prod(-1).sum()):
            return Finding("placeholders", False, f"{rows} rows of {kind} features for grids of {wanted}")
    return Finding("placeholders", True, f"{len(sample.grids('image'))} images, {len(sample.grids('video'))} videos")


def check_frames(sample: Sample, spec: PositionSpec, planned: Sequence[int]) -> Finding:
    """Args:
    planned: tokens of each image, from its planned size.
    """
    found = _runs(sample.input_ids, spec.image_token_id)
    if found != list(planned):
        return Finding(
            "frames", False, f"images of {found} tokens, planned as {list(planned)}: the processor resizes them"
        )
    return Finding("frames", True, f"{len(found)} images as planned")


def check_seconds(sample: Sample, true_s: Sequence[float]) -> Finding:
    """Args:
    true_s: seconds between the grids of each video, from its frames' times.
    """
    known = sample.features.get("second_per_grid_ts")
    if known is None:
        return Finding("seconds", True, "no video needs them")
    known = [float(value) for value in known]
    # The processor derives them from a mean rate in whole milliseconds.
    ok = len(known) == len(true_s) and np.allclose(known, true_s, rtol=1e-2)
    return Finding("seconds", ok, f"{known} s between grids, by the frames' times {[round(t, 4) for t in true_s]} s")


def check_positions(sample: Sample, spec: PositionSpec) -> Finding:
    try:
        expected = position_ids(
            sample.input_ids,
            sample.grids("image"),
            sample.grids("video"),
            sample.features.get("second_per_grid_ts"),
            spec,
        )
    except DataError as error:
        return Finding("positions", False, str(error))
    differ = np.flatnonzero((expected != sample.position_ids).any(0))
    if len(differ):
        at = int(differ[0])
        detail = (
            f"token {at} stands at {sample.position_ids[:, at].tolist()}, by the rule at {expected[:, at].tolist()}"
        )
        return Finding("positions", False, f"{detail} ({len(differ)} in all)")
    return Finding("positions", True, f"up to {int(expected.max())}")


def check_equal_lengths(samples: Sequence[Sample]) -> Finding:
    """Cut all samples to one length, batch their position ids as verl does, and read them back."""
    import torch
    from tensordict import TensorDict
    from verl.utils import tensordict_utils

    length = min(len(sample.input_ids) for sample in samples)
    rows = [
        torch.from_numpy(np.concatenate([np.arange(length)[None], sample.position_ids[:, :length]]))
        for sample in samples
    ]
    batch = TensorDict({"position_ids": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}, batch_size=len(rows))
    try:
        tensordict_utils.maybe_fix_3d_position_ids(batch)
        back = list(batch["position_ids"].unbind())
    except RuntimeError as error:
        return Finding("equal lengths", False, str(error).splitlines()[0])
    same = all(torch.equal(row, read) for row, read in zip(rows, back, strict=True))
    return Finding("equal lengths", same, f"{len(rows)} sequences of {length} tokens")


def check_log_probs(samples: Sequence[Sample], actor: Sequence[np.ndarray], mean: float, pearson: float) -> Finding:
    """Args:
    actor: float ``[response]`` per sample.
    mean: mean difference of probabilities at most.
    pearson: correlation of probabilities at least.
    """
    ours, theirs = [], []
    for sample, log_probs in zip(samples, actor, strict=True):
        policy, sampled = sample.response_mask, sample.response_mask & sample.sampled()
        for engine, given in ((sample.engine_log_probs, policy), (sample.sampled_log_probs, sampled)):
            ours.append(log_probs[given])
            theirs.append(engine[given])
    a, b = np.concatenate(ours), np.concatenate(theirs)
    for side, values in (("engine", b), ("actor", a)):
        lost = values[~np.isfinite(values)]
        if len(lost):
            detail = (
                f"{len(lost)} of the {side}'s {len(values)} log-probabilities are not finite, the first is {lost[0]}"
            )
            return Finding("log-probs", False, detail)
    a, b = np.exp(a), np.exp(b)
    difference = np.abs(a - b)
    figures = {
        "tokens": float(len(a)),
        "mean_difference": float(difference.mean()),
        "max_difference": float(difference.max()),
        "pearson": float(np.corrcoef(a, b)[0, 1]),
    }
    ok = figures["mean_difference"] <= mean and figures["pearson"] >= pearson
    detail = "mean {mean_difference:.2e}, max {max_difference:.2e}, Pearson {pearson:.7f}, {tokens:.0f} tokens"
    return Finding("log-probs", ok, detail.format(**figures), figures)


def check_pixels(before: np.ndarray, after: np.ndarray, answer: np.ndarray) -> Finding:
    """Args:
    before, after: float ``[response]``, the actor's log-probabilities with the crop and with a changed crop.
    answer: bool ``[response]``, tokens after the crop.
    """
    change = float(np.abs(before - after)[answer].max(initial=0.0))
    return Finding("pixels", change > 1e-6, f"largest change of a log-probability {change:.1e}", {"change": change})


def _runs(ids: np.ndarray, token: int) -> list[int]:
    """Lengths of the runs of ``token``."""
    marks = np.diff(np.concatenate([[0], (ids == token).astype(np.int8), [0]]))
    return (np.flatnonzero(marks == -1) - np.flatnonzero(marks == 1)).tolist()
