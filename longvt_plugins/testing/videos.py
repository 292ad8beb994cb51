"""Generated videos whose frames prove their own time, and files broken in every way we know of.

Each frame carries its number as 16 black or white blocks across its upper half (``read_numbers`` reads it back
at any size), above a moving texture that gives the encoder motion to predict. Encoded with PyAV; no binary needed.
``decode_all`` is the oracle: a plain linear decode that shares no code with ``longvt_plugins.video``.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 16
COLUMNS = 8


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """Frame ``number``: uint8 ``[height, width, 3]``, RGB."""
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    texture = (rows * 3 + columns * 2 + number * 5) % 160 + 40
    rgb = np.stack([texture, np.roll(texture, number * 3, axis=1), 255 - texture], axis=-1).astype(np.uint8)
    block = (rows * 4 // height) * COLUMNS + columns * COLUMNS // width
    bit = (number >> np.minimum(block, BITS - 1)) & 1
    upper = rows < height // 2
    rgb[upper] = np.where(bit[upper, None] == 1, 235, 20)
    return rgb


def read_numbers(pixels: np.ndarray) -> list[int]:
    """Frame numbers of pictures: uint8 ``[n, height, width, 3]`` -> n numbers.

    Raises:
        AssertionError: a block is neither black nor white; the picture is damaged or not one of ours.
    """
    numbers = []
    for image in np.asarray(pixels).mean(axis=-1):
        height, width = image.shape
        number = 0
        for bit in range(BITS):
            row, column = divmod(bit, COLUMNS)
            top, left = (row + 0.3) * height / 4, (column + 0.3) * width / COLUMNS
            block = image[int(top) : int(top + 0.4 * height / 4) + 1, int(left) : int(left + 0.4 * width / COLUMNS) + 1]
            assert not 90 < block.mean() < 165, f"bit {bit} is grey: {block.mean():.0f}"
            number |= int(block.mean() > 128) << bit
        numbers.append(number)
    return numbers


def write_video(
    path: str | os.PathLike[str],
    frames: int = 120,
    fps: float | Fraction = 30,
    *,
    size: tuple[int, int] = (96, 128),
    codec: str = "libx264",
    gop: int = 30,
    b_frames: int = 2,
    times_s: Sequence[float] | None = None,
    start_s: float = 0.0,
    pix_fmt: str = "yuv420p",
    codec_options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: bool = False,
) -> Path:
    """Write a video whose frame ``i`` is ``picture(i, size)``; the suffix of ``path`` chooses the container.

    Args:
        times_s: presentation time of each frame, for a varying rate; evenly spaced when ``None``.
        start_s: presentation time of the first frame.
        codec_options, container_options: passed to FFmpeg.
    """
    path = Path(path)
    rate = Fraction(fps).limit_denominator(100_000)
    # The MPEG encoders know only whole frames.
    time_base = 1 / rate if codec.startswith("mpeg") else Fraction(1, 90_000)
    options = {"preset": "superfast", "crf": "20"} if codec in ("libx264", "libx265") else {}
    if codec == "libx265":
        options["x265-params"] = "log-level=none"
    if codec == "libvpx-vp9":
        options |= {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"}
    with av.open(path, "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options | (codec_options or {}))
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = gop
        if codec.startswith("libx26") or codec.startswith("mpeg"):
            stream.codec_context.max_b_frames = b_frames
        if audio:
            _add_silence(container, frames / float(rate))
        for number in range(frames):
            time_s = number / rate if times_s is None else times_s[number]
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts, frame.time_base = round((time_s + start_s) / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: str | os.PathLike[str], seconds: float = 2.0) -> Path:
    """An mp4 or m4a without a video stream."""
    with av.open(path, "w") as container:
        _add_silence(container, seconds)
    return Path(path)


def _add_silence(container: av.container.OutputContainer, seconds: float) -> None:
    stream = container.add_stream("aac", rate=16_000)
    for number in range(int(seconds * 16_000) // 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16_000, number * 1024
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def decode_all(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """The oracle: every frame of a linear decode.

    Returns:
        times: float64 ``[n]``, from the first frame.
        pixels: uint8 ``[n, height, width, 3]``, not rotated.
    """
    times, pixels = [], []
    with av.open(os.fspath(path), metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            times.append(frame.pts * stream.time_base)
            pixels.append(frame.to_ndarray(format="rgb24"))
    return np.array([float(time - times[0]) for time in times]), np.stack(pixels)


def cut(source: Path, target: Path, share: float) -> Path:
    """The first ``share`` of a file's bytes."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def damage(source: Path, target: Path, start: float, end: float, seed: int = 0, flips: int = 40) -> Path:
    """A copy with bytes overwritten between two shares of the file."""
    data = bytearray(source.read_bytes())
    random = np.random.default_rng(seed)
    for position in random.integers(int(len(data) * start), int(len(data) * end), flips):
        data[position : position + 16] = random.bytes(len(data[position : position + 16]))
    target.write_bytes(data)
    return target


def rotate(path: Path, degrees: int) -> Path:
    """Set the display matrix of an mp4 in place: players turn it clockwise by 0, 90, 180 or 270 degrees."""
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    one = 1 << 16
    return _patch(path, b"tkhd", 44, struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30))


def hide_first(path: Path, ticks: int) -> Path:
    """Move the start of an mp4's edit, so that the frames before it are decoded but never shown."""
    data = path.read_bytes()
    at = data.index(b"elst") + 16
    media_time = struct.unpack_from(">i", data, at)[0]
    return _patch(path, b"elst", 16, struct.pack(">i", media_time + ticks))


def _patch(path: Path, box: bytes, offset: int, value: bytes) -> Path:
    data = bytearray(path.read_bytes())
    at = data.index(box) + offset
    data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def varying_times(frames: int) -> list[float]:
    """Times of a varying rate: dense and sparse stretches, and a gap."""
    steps = [1 / 30 if number // 20 % 2 else 1 / 8 for number in range(frames)]
    steps[frames // 2] = 1.5
    return np.concatenate([[0.0], np.cumsum(steps)[:-1]]).tolist()


def good_videos(directory: Path) -> dict[str, Path]:
    """Files that every reader must read right, by what is particular about them."""
    directory.mkdir(parents=True, exist_ok=True)

    def write(name: str, file: str, **options) -> tuple[str, Path]:
        return name, write_video(directory / file, **options)

    videos = dict(
        [
            write("h264", "h264.mp4", frames=150),
            write("h264_no_b", "no_b.mp4", b_frames=0),
            write("faststart", "faststart.mp4", frames=150, container_options={"movflags": "faststart"}),
            write("fragmented", "fragmented.mp4", container_options={"movflags": "frag_keyframe+empty_moov"}),
            write("negative_cts", "negative_cts.mp4", container_options={"movflags": "negative_cts_offsets"}),
            write("long_gop", "long_gop.mp4", frames=300, gop=300),
            write("open_gop", "open_gop.mp4", b_frames=3, codec_options={"x264-params": "open-gop=1:b-pyramid=normal"}),
            write("intra_refresh", "refresh.mp4", b_frames=0, codec_options={"x264-params": "intra-refresh=1"}),
            write("varying", "varying.mp4", times_s=varying_times(120)),
            write("varying_mkv", "varying.mkv", times_s=varying_times(120)),
            write("ntsc", "ntsc.mp4", fps=Fraction(30000, 1001)),
            write("late_mp4", "late.mp4", start_s=7.5),
            write("late_mkv", "late.mkv", start_s=7.5),
            write("late_ts", "late.ts", start_s=7.5),
            write("ts", "plain.ts", frames=150),
            write("vp9", "vp9.webm", codec="libvpx-vp9"),
            write("hevc", "hevc.mp4", codec="libx265", b_frames=3),
            write("hevc_ts", "hevc.ts", codec="libx265", b_frames=3),
            write("av1", "av1.mp4", frames=60, codec="libsvtav1", codec_options={"preset": "12", "crf": "20"}),
            write("mpeg4", "mpeg4.mp4", codec="mpeg4", codec_options={"qscale": "3", "flags": "+qscale"}),
            write("mpeg2_ts", "mpeg2.ts", codec="mpeg2video", fps=25, codec_options={"b": "4M"}),
            write("ten_bit", "ten_bit.mp4", pix_fmt="yuv420p10le", codec_options={"profile": "high10"}),
            write("full_range", "full_range.mp4", pix_fmt="yuvj420p"),
            write("odd_size", "odd.mp4", size=(95, 127), pix_fmt="yuv444p", codec_options={"profile": "high444"}),
            write("one_frame", "one.mp4", frames=1),
            write("two_frames", "two.mp4", frames=2),
            write("with_audio", "audio.mp4", audio=True),
        ]
    )
    videos["hidden_start"] = hide_first(write_video(directory / "hidden.mp4"), 90_000)
    videos["hidden_half_group"] = hide_first(write_video(directory / "half.mp4"), 48_000)
    return videos


def bad_files(directory: Path) -> dict[str, Path]:
    """Paths that hold no frame at all; each must end in one typed error."""
    directory.mkdir(parents=True, exist_ok=True)
    good = write_video(directory / "source.mp4", frames=60)
    files = {
        "cut_without_moov": cut(good, directory / "cut.mp4", 0.6),
        "audio_only": write_audio(directory / "audio_only.mp4"),
        "missing": directory / "missing.mp4",
        "directory": directory / "directory.mp4",
        "dangling": directory / "dangling.mp4",
        "device": Path("/dev/zero"),
        "fifo": directory / "fifo.mp4",
    }
    contents = {
        "empty": b"",
        "text": b"this is not a video\n",
        "random": np.random.default_rng(0).bytes(100_000),
        "zeros": bytes(100_000),
        "header_only": good.read_bytes()[:32],
        "playlist": b"#EXTM3U\n#EXTINF:1,\nsource.mp4\n#EXT-X-ENDLIST\n",
        "concat": b"ffconcat version 1.0\nfile source.mp4\n",
    }
    for name, data in contents.items():
        files[name] = directory / f"{name}.mp4"
        files[name].write_bytes(data)
    files["directory"].mkdir(exist_ok=True)
    if not files["fifo"].exists():
        os.mkfifo(files["fifo"])
    if not files["dangling"].is_symlink():
        files["dangling"].symlink_to(directory / "nowhere.mp4")
    return files
