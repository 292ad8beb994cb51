"""Video file -> frames. The one door through which pixels enter; no torch.

``probe`` reads what a file is, ``plan_window`` and ``plan_overview`` choose timestamps and size,
``read_frames`` decodes them, ``clip_store.get`` does so for a ``MediaRef``, once.
"""

from . import clip_store
from .decode import Frames, read_frames
from .probe import VideoInfo, content_identity, probe
from .sampling import FramePlan, SamplingPolicy, plan_overview, plan_window

__all__ = [
    "FramePlan",
    "Frames",
    "SamplingPolicy",
    "VideoInfo",
    "clip_store",
    "content_identity",
    "plan_overview",
    "plan_window",
    "probe",
    "read_frames",
]
