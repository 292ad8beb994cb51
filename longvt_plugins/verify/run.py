"""All checks on all trajectories of a session."""

from __future__ import annotations

import numpy as np
import torch

from longvt_plugins.tokens.budget import visual_tokens

from .actor import Actor
from .checks import (
    check_equal_lengths,
    check_frames,
    check_ids,
    check_log_probs,
    check_mask,
    check_pixels,
    check_placeholders,
    check_positions,
    check_rendering,
    check_seconds,
)
from .sample import Finding, Sample, worst
from .session import Session

TOLERANCES = {"float32": (1e-4, 0.99999), "bfloat16": (1e-2, 0.999)}
"""Largest mean difference and smallest Pearson correlation of probabilities, by the engine's dtype.

On an H100 the worst of 8 cases each were 8.5e-6 and 1.0000000, and 1.3e-3 and 0.99993
(benchmarks/results/gpu_probabilities.md); an attention in TF32 gave 1.7e-4.
"""


def verify(session: Session) -> list[Finding]:
    """Every check, worst case over the trajectories. A trajectory that ended by a fault is a finding of its own."""
    samples = session.samples()
    faulted = [s.transcript.fault for s in samples if s.transcript.fault is not None]
    if faulted:
        return [Finding("rollout", False, f"{len(faulted)} trajectories faulted: {faulted[0].message}")]
    findings = [Finding("rollout", True, f"{len(samples)} trajectories, {_crops(samples)} crops")]
    findings += [
        worst([check_ids(sample) for sample in samples]),
        worst([check_mask(sample) for sample in samples]),
        worst([check_rendering(sample) for sample in samples]),
        worst([check_placeholders(sample, session.spec) for sample in samples]),
        worst([check_frames(sample, session.spec, planned_runs(sample, session)) for sample in samples]),
        worst([check_seconds(sample, session.seconds_per_grid(sample)) for sample in samples]),
        worst([check_positions(sample, session.spec) for sample in samples]),
        check_equal_lengths(samples),
    ]
    actor = Actor(session.model, autocast=session.dtype == "bfloat16")
    if session.engine == "vllm":
        log_probs = [actor.log_probs(sample) for sample in samples]
        findings.append(check_log_probs(samples, log_probs, *TOLERANCES[session.dtype]))
    findings.append(changed_pixels(actor, samples))
    return findings


def planned_runs(sample: Sample, session: Session) -> list[int]:
    """Placeholder runs of the images, from the planned sizes of the frames alone."""
    overview = () if session.profile.video_tokens else sample.transcript.overview
    refs = [*overview, *(crop.media for crop in sample.transcript.crops_ok())]
    return [visual_tokens(ref.size, session.patch) for ref in refs for _ in ref.times_s]


def changed_pixels(actor: Actor, samples: list[Sample]) -> Finding:
    """Change the last frame of a crop, and see whether what the policy said after it gets another probability."""
    sample = next((s for s in samples if s.transcript.crops_ok()), None)
    if sample is None:
        return Finding("pixels", False, "no trajectory has a crop, so no pixel could be changed")
    rows = int(sample.grids("image")[-1].prod())
    pixels = sample.features["pixel_values"].clone()
    pixels[-rows:] = torch.flip(pixels[-rows:], dims=(0,)) + 0.5
    after_crop = np.zeros(len(sample.response_mask), bool)
    last = sample.generations[-1]
    after_crop[len(last.prompt_ids) - sample.prompt_length :] = True
    changed = actor.log_probs(sample, {**sample.features, "pixel_values": pixels})
    return check_pixels(actor.log_probs(sample), changed, after_crop)


def _crops(samples: list[Sample]) -> int:
    return sum(len(sample.transcript.crops_ok()) for sample in samples)
