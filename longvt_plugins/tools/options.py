"""How a crop is made: sampling, budgets, what happens at the video's ends, how long it may take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from longvt_plugins.errors import ConfigError, NoRoomError
from longvt_plugins.tokens.budget import MARKS, frame_tokens
from longvt_plugins.video import SamplingPolicy, VideoInfo, plan_overview, plan_window
from longvt_plugins.video.sampling import check_number, least_size


@dataclass(frozen=True)
class Room:
    """What one crop may add to its conversation. More than that is fewer frames, then smaller ones, then none."""

    tokens: int
    """Visual tokens and those of the frames' labels."""
    frames: int
    label_tokens: int = 0
    """Tokens of the text that stands with each frame, at most."""

    @classmethod
    def share(cls, calls: int, tokens: int, frames: float = math.inf, label_tokens: int = 0) -> Room:
        """An equal part for each of ``calls`` crops that run at once."""
        calls, any_number = max(1, calls), 1 << 30
        return cls(max(0, tokens) // calls, int(min(max(0, frames), any_number)) // calls, label_tokens)

    def holds(self, frames: int, size: tuple[int, int], patch: int) -> bool:
        return frames <= self.frames and frames * (frame_tokens(size, patch) + self.label_tokens) <= self.tokens


@dataclass(frozen=True)
class CropOptions:
    """Options of ``crop_video``.

    Attributes:
        policy: sampling of the window.
        finer_than: the policy by which the prompt showed the whole video. When given, a crop adds information:
            at least twice the overview's rate, more frames of the window than it showed, and frames as large as
            the budget lets them be. ``policy`` then sets the least rate, and ``max_frames`` still holds.
        max_tokens: bound on a crop's visual tokens: first frames get smaller, then fewer.
            ``None``: ``max_frames`` frames of ``max_pixels``.
        beyond: a window that reaches past the video is cut to it (``"clamp"``, and the reply says so) or
            ``"refuse"``-d with the legal range. One wholly outside is always refused.
        deadline_s: time for one crop, decoding and waiting for another process that decodes it included.
        video_root: every video of a sample must lie below it, symbolic links resolved. ``None``: anywhere.
        room: what is left in the conversation that asks. ``None``: enough.

    Raises:
        ConfigError: a value no crop can be made with.
    """

    policy: SamplingPolicy = field(default_factory=lambda: SamplingPolicy(fps=1.0, max_frames=16))
    finer_than: SamplingPolicy | None = None
    max_tokens: int | None = None
    beyond: Literal["clamp", "refuse"] = "clamp"
    deadline_s: float = 60.0
    video_root: str | None = None
    room: Room | None = None

    def __post_init__(self):
        if self.beyond not in ("clamp", "refuse"):
            raise ConfigError(f"beyond={self.beyond!r}", "must be 'clamp' or 'refuse'", "Change it.")
        check_number("deadline_s", self.deadline_s, Real)
        if not (math.isfinite(self.deadline_s) and self.deadline_s > 0):
            raise ConfigError(f"deadline_s={self.deadline_s!r}", "must be a positive number of seconds", "Change it.")
        if not isinstance(self.video_root, str | None):
            raise ConfigError(f"video_root={self.video_root!r}", "must be a path", "Change it.")
        if self.max_tokens is not None:
            check_number("max_tokens", self.max_tokens, Integral)
            # Of the shape that takes most.
            least = MARKS + min(2 * self.policy.least_patches, self.policy.most_patches)
            frames = max(self.policy.min_frames, step(self.policy))
            if self.max_tokens < least * frames:
                raise ConfigError(
                    f"max_tokens={self.max_tokens}",
                    f"must hold {frames} frames (min_frames={self.policy.min_frames}, rule={self.policy.rule!r}) of up "
                    f"to {least} tokens at min_pixels",
                    "Raise it, or lower min_frames or min_pixels.",
                )


def read_options(config: Mapping[str, Any]) -> CropOptions:
    """``CropOptions`` from a tool configuration.

    Raises:
        ConfigError: an unknown key, or a value no crop can be made with.
    """
    option_keys = CropOptions.__dataclass_fields__.keys() - {"policy", "room"}
    sampling_keys = SamplingPolicy.__dataclass_fields__.keys()
    given = _known(config, {"type"} | option_keys | sampling_keys, "crop_video")
    options = {key: given[key] for key in option_keys & given.keys()}
    if options.get("finer_than") is not None:
        options["finer_than"] = SamplingPolicy(**_known(options["finer_than"], sampling_keys, "crop_video.finer_than"))
    return CropOptions(policy=SamplingPolicy(**{key: given[key] for key in sampling_keys & given.keys()}), **options)


def _known(given: object, keys: Set[str], what: str) -> dict[str, Any]:
    """``given``, a mapping without other keys than ``keys``.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what}: {given!r}", "must be a mapping", "Correct the tool configuration.")
    unknown = sorted(map(str, given.keys() - keys))
    if unknown:
        known = ", ".join(sorted(keys))
        raise ConfigError(f"{what} keys {unknown}", f"known keys are {known}", "Correct the tool configuration.")
    return dict(given)


def step(policy: SamplingPolicy) -> int:
    """Frames by which a crop's count goes up: the rule ``"index"`` takes them in pairs."""
    return 2 if policy.rule == "index" else 1


def window_policy(info: VideoInfo, start_s: float, end_s: float, options: CropOptions) -> SamplingPolicy:
    """``options.policy`` fitted to one window: finer than the overview and within the token budget."""
    policy, budget = options.policy, options.max_tokens
    area, least = policy.patch**2, frame_tokens(least_size(info.size, policy), policy.patch)
    if options.finer_than is not None:
        seen_s = np.asarray(plan_overview(info, options.finer_than).times_s)
        seen = int(((seen_s >= start_s) & (seen_s <= end_s)).sum())
        fps = max(policy.fps, 2 * len(seen_s) / info.duration_s)
        policy = replace(policy, fps=fps, min_frames=min(policy.max_frames, max(policy.min_frames, seen + 1)))
        if budget is None:
            budget = policy.max_frames * (policy.most_patches + MARKS)
        # Sized up by the budget below, and never past what the file holds.
        native = round(info.size[0] / policy.patch) * round(info.size[1] / policy.patch) * area
        policy = replace(policy, max_pixels=max(policy.max_pixels, native))
    if budget is None:
        return policy
    frames = min(policy.max_frames, budget // least)
    policy = replace(policy, max_frames=frames, min_frames=min(policy.min_frames, frames))
    frames = len(plan_window(info, start_s, end_s, policy).times_s)
    return replace(policy, max_pixels=min(policy.max_pixels, (budget // frames - MARKS) * area))


def fit_room(info: VideoInfo, start_s: float, end_s: float, policy: SamplingPolicy, room: Room) -> SamplingPolicy:
    """``policy`` reduced to what ``room`` holds: fewer frames, down to ``min_frames``, then smaller, then fewer yet.

    Raises:
        NoRoomError: not even one frame of the least size fits (two, by the ``"index"`` rule).
    """
    plan = plan_window(info, start_s, end_s, policy)
    count, pair, area = len(plan.times_s), step(policy), policy.patch**2
    each = frame_tokens(plan.size, policy.patch) + room.label_tokens
    least_each = min(each, frame_tokens(least_size(info.size, policy), policy.patch) + room.label_tokens)
    wanted = max(min(policy.min_frames, count), room.tokens // each)
    frames = min(count, wanted, room.frames, room.tokens // least_each) // pair * pair
    if frames < pair:
        raise NoRoomError(
            f"{room.tokens} tokens and {room.frames} frames left",
            f"{pair} frames take {pair * least_each} tokens at least",
            "Answer from what was seen.",
        )
    pixels = policy.max_pixels
    if frames * each > room.tokens:
        pixels = min(pixels, (room.tokens // frames - MARKS - room.label_tokens) * area)
    return replace(policy, max_frames=frames, min_frames=min(policy.min_frames, frames), max_pixels=pixels)
