"""Frame index: every packet of a video's stream in decode order, with the times at which frames are shown.

All exactness downstream rests on it: a time becomes a presentation timestamp (pts) here, and a decoder
must then hand out the frame with exactly that pts. Time 0 is the first frame that can be shown; frames
before the first keyframe, and frames an edit list hides, are never shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from longvt_plugins.errors import VideoRangeError

from .samples import SampleMap

TIME_TOLERANCE_S = 1e-6
"""A time this close before a frame's own time counts as that frame: times survive rounding in JSON and text."""


class IndexMismatch(Exception):
    """The demuxer tells other times than the sample tables: index the file by its packets."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Packets of one video stream in decode order.

    Attributes:
        pts, dts: int64 ``[num_packets]``, in units of ``time_base``.
        key: bool ``[num_packets]``, decoding can start here.
        shown: bool ``[num_packets]``, the packet becomes a frame on screen.
        end_pts: when the last frame leaves the screen.
        time_base: seconds per unit.
        size: ``(height, width)`` as displayed, after ``rotation``.
        rotation: degrees counter-clockwise, multiple of 90.
        codec: FFmpeg's name of the codec.
        source: ``"tables"`` (mp4 sample tables) or ``"packets"`` (the demuxer's own).
        samples: where the packets lie in the file, for tables that say all a decoder needs.
    """

    pts: np.ndarray
    dts: np.ndarray
    key: np.ndarray
    shown: np.ndarray
    end_pts: int
    time_base: Fraction
    size: tuple[int, int]
    rotation: int
    codec: str
    source: str
    samples: SampleMap | None = None

    @cached_property
    def display(self) -> np.ndarray:
        """int64 ``[num_frames]``: packet positions of the shown frames, in the order they are shown."""
        positions = np.flatnonzero(self.shown)
        order = positions[np.argsort(self.pts[positions], kind="stable")]
        pts = self.pts[order]
        return order[np.append(pts[1:] != pts[:-1], True)] if len(order) else order

    def ambiguous(self, position: int) -> bool:
        """Whether another packet claims the moment of this one, so that a decoder may hand out either."""
        return int(((self.pts == self.pts[position]) & self.shown).sum()) > 1

    @cached_property
    def times_s(self) -> np.ndarray:
        """float64 ``[num_frames]``: presentation times, ascending, first frame at 0."""
        pts = self.pts[self.display]
        times = (pts - pts[0]) * float(self.time_base)
        times.setflags(write=False)
        return times

    @property
    def duration_s(self) -> float:
        return float((self.end_pts - self.pts[self.display[0]]) * self.time_base)

    @property
    def nbytes(self) -> int:
        return (49 if self.samples else 33) * len(self.pts)

    def on_display(self, times_s: np.ndarray) -> np.ndarray:
        """Display number of the frame on screen at each time: greatest presentation time <= t.

        Raises:
            VideoRangeError: a time is not finite or outside ``[0, duration]``.
        """
        times_s = np.asarray(times_s, dtype=np.float64)
        inside = (times_s >= 0) & (times_s <= self.duration_s + TIME_TOLERANCE_S)
        if not inside.all():
            raise VideoRangeError(
                f"{float(times_s[~inside][0])} s",
                f"a time must lie in [0, {self.duration_s:.3f}] s",
                "Ask for times inside the video.",
            )
        return np.searchsorted(self.times_s, times_s + TIME_TOLERANCE_S, side="right") - 1


def decodable(pts: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Which packets a decoder that starts at the first keyframe can turn into frames: bool ``[num_packets]``."""
    if not key.any():
        return np.zeros(len(pts), dtype=bool)
    first = int(np.argmax(key))
    shown = pts >= pts[first]
    shown[:first] = False
    if key[first + 1 :].any():
        # Past the second keyframe, an earlier pts means damaged times, not a leading picture.
        shown[first + 1 + int(np.argmax(key[first + 1 :])) :] = True
    return shown
