"""Media profiles: the named ways in which frames stand before a model, the same in SFT, RL, evaluation and serving.

``frames-time``    frames are images, each after its time in plain seconds. The default everywhere.
``longvt-compat``  frames are images without times, at LongVT's rate and size, and the prompt names the video's path:
                   what the released LongVT RL and RFT checkpoints saw. (Their SFT saw video tokens, so nothing here
                   is parity with all three stages.)
``native``         the overview is one video in the family's own video tokens; crops are images with their times.
                   Stock verl and vLLM give a video of Qwen2.5-VL different positions; ``upstream/`` mends both.

A checkpoint, a trajectory and a result carry the name of their profile (``stamp``); two do not mix.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ProfileError
from longvt_plugins.types import CropOutcome, MediaRef
from longvt_plugins.video import SamplingPolicy

from .media import image_items, media_of, time_label, video_item

STAMP = "longvt_profile.json"
LONGVT = SamplingPolicy(fps=1.0, min_frames=2, max_frames=512, max_pixels=50_176, rule="index")
COMPAT_REPLY = "The tool executed successfully."


@dataclass(frozen=True)
class MediaProfile:
    """See the module docstring."""

    name: str
    overview: SamplingPolicy
    """Default sampling of the prompt's videos; a recipe may give its own. Patch and least size are the model's."""
    labels: bool
    """Whether an image stands after its time."""
    video_tokens: bool = False
    """Whether the overview is a video instead of images."""
    path_in_prompt: bool = False
    model_types: tuple[str, ...] = ()
    """Root ``model_type`` of the models it is offered for; empty: all."""

    def prompt_content(
        self, content: Iterable[Mapping[str, Any]], frames_of: Callable[[str], MediaRef]
    ) -> list[dict[str, Any]]:
        """Message content of a prompt: each item ``{"type": "video", "video": path}`` as this profile shows it.

        Args:
            frames_of: the overview of the video at a path.
        """
        content = list(content)
        text = "".join(item.get("text", "") for item in content)
        shown, sentences = [], ""
        for item in content:
            if item["type"] == "video":
                shown += self.overview_content(frames_of(item["video"]))
                sentences += self.path_sentence(item["video"], text)
            else:
                shown.append(dict(item))
        return [*shown, {"type": "text", "text": sentences}] if sentences else shown

    def overview_content(self, ref: MediaRef) -> list[dict[str, Any]]:
        """Message content for a video of the prompt."""
        return [video_item(ref)] if self.video_tokens else image_items(ref, self.labels)

    def crop_content(self, outcome: CropOutcome) -> str | list[dict[str, Any]]:
        """Message content for the outcome of a call."""
        if outcome.media is None:
            return outcome.text
        if self.labels:
            return [{"type": "text", "text": outcome.text}, *image_items(outcome.media, labels=True)]
        text = f"{COMPAT_REPLY} {outcome.note}".strip()
        return [*image_items(outcome.media, labels=False), {"type": "text", "text": text}]

    def path_sentence(self, path: str, prompt: str) -> str:
        """What to append to a prompt so that it names the video; empty where it does already or need not."""
        if not self.path_in_prompt or os.path.basename(path) in prompt:
            return ""
        return f" The Video path for this video is: {path}"

    def label_tokens(self, messages: Iterable[Mapping[str, Any]]) -> int:
        """Tokens of the text that stands with a frame of the videos in ``messages``, at most."""
        latest_s = max((ref.times_s[-1] for ref in media_of(messages)), default=3600.0)
        # The video ends after its last overview frame, perhaps with one digit more.
        return len(time_label(10 * latest_s)) if self.labels else 0

    def check_model(self, model_type: str) -> None:
        """Raises:
        ProfileError: this profile is not offered for models of this type.
        """
        if self.model_types and model_type not in self.model_types:
            raise ProfileError(
                f"media profile {self.name} with model_type {model_type}",
                f"is offered for {', '.join(self.model_types)}: for others nothing proves that both sides agree",
                "Use frames-time, or see what 'longvt verify' says.",
            )


PROFILES = {
    profile.name: profile
    for profile in (
        MediaProfile("frames-time", SamplingPolicy(fps=1.0, min_frames=2, max_frames=256), labels=True),
        MediaProfile("longvt-compat", LONGVT, labels=False, path_in_prompt=True),
        MediaProfile(
            "native",
            SamplingPolicy(fps=1.0, min_frames=2, max_frames=512),
            labels=True,
            video_tokens=True,
            model_types=("qwen2_5_vl", "qwen3_vl"),
        ),
    )
}
DEFAULT = "frames-time"


def profile_named(name: str | None) -> MediaProfile:
    """The profile of this name; ``None``: the default.

    Raises:
        ProfileError: there is none.
    """
    profile = PROFILES.get(name or DEFAULT)
    if profile is None:
        raise ProfileError(
            f"media profile {name!r}", f"known are {', '.join(PROFILES)}", "Correct data.longvt.profile."
        )
    return profile


def stamp(folder: str | os.PathLike[str], profile: str) -> None:
    """Write the profile's name beside a checkpoint."""
    path = Path(folder, STAMP)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_text(json.dumps({"media_profile": profile}) + "\n")
    os.replace(scratch, path)


def check_stamp(folder: str | os.PathLike[str], profile: str) -> None:
    """Compare with the stamp of a checkpoint; one without a stamp may be used with any profile.

    Raises:
        ProfileError: the checkpoint was made with another profile, or its stamp cannot be read.
    """
    path = Path(folder, STAMP)
    try:
        made_with = json.loads(path.read_text())["media_profile"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProfileError(str(path), f"is not a profile stamp ({type(error).__name__})", "Remove it.") from error
    if made_with != profile:
        raise ProfileError(
            str(folder),
            f"was made with media profile {made_with}, and this run uses {profile}",
            f"Set data.longvt.profile={made_with}, or start from another checkpoint.",
        )
