"""Decoders: each one that is installed reads a clip of each codec, and the frames prove their own time."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

from longvt_plugins.errors import CheckError
from longvt_plugins.launch.finding import Finding

from . import child

MODULES = {"pyav": "av", "torchcodec": "torchcodec", "opencv": "cv2", "decord": "decord"}
ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
LIMIT_S = 120.0
ASKED = (0, 5, 11)
FPS = 10


def decoders() -> Iterator[Finding | str]:
    """PyAV must read all four codecs; the others are choices, and what they read is a fact."""
    remedy = "pip install --force-reinstall av==15.1.0: its wheel has a complete FFmpeg"
    with tempfile.TemporaryDirectory(prefix="longvt-") as folder:
        for name, module in MODULES.items():
            if name != "pyav" and importlib.util.find_spec(module) is None:
                yield f"{name} not installed"
                continue
            try:
                told, reads = child.look(__name__, "try_backend", name, folder, limit_s=LIMIT_S, remedy=remedy)
            except CheckError as error:
                told, reads = error.rule, {}
            lost = [codec for codec in ENCODERS if reads.get(codec) != "ok"]
            if name == "pyav" and lost:
                why = "; ".join(f"{codec}: {reads.get(codec, told)}" for codec in lost)
                yield Finding("decoders", f"PyAV for {', '.join(lost)}", f"does not read its own clip ({why})", remedy)
            elif reads:
                yield f"{told}: {' '.join(codec for codec in reads if codec not in lost) or 'nothing'}"
            else:
                yield f"{name} does not load ({told})"


def try_backend(name: str, folder: str) -> tuple[str, dict[str, str]]:
    """Its library, and for each codec ``ok`` or what went wrong. Clips are made in ``folder`` where they lack."""
    import av

    from longvt_plugins.testing.videos import read_numbers, write_video
    from longvt_plugins.video import read_frames
    from longvt_plugins.video.backends import backend

    backend(name)
    reads = {}
    for codec, encoder in ENCODERS.items():
        path = Path(folder, f"{codec}.mp4")
        try:
            if not path.exists():
                options = {"preset": "12"} if encoder == "libsvtav1" else None
                write_video(path, ASKED[-1] + 1, FPS, codec=encoder, codec_options=options)
            frames = read_frames(path, [(number + 0.5) / FPS for number in ASKED], backend=name)
            shown = tuple(read_numbers(frames.pixels))
            reads[codec] = "ok" if shown == ASKED else f"shows frames {shown}, not {ASKED}"
        except Exception as error:
            reads[codec] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if name != "pyav":
        return name, reads
    libraries = (f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in ("libavcodec", "libavformat"))
    return f"pyav {av.__version__} (FFmpeg {av.ffmpeg_version_info}: {', '.join(libraries)})", reads
