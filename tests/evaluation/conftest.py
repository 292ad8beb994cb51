"""Policies for the needle task that have eyes: they read codes and digits out of the PNGs they are sent."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from longvt_plugins.episode import write_call
from longvt_plugins.tasks.needle import SIZES, read_code, read_digit
from longvt_plugins.tasks.needle_files import write_needle

SIZE = SIZES["tiny"]
GUESS = SIZE.digits[0]


@pytest.fixture(scope="session")
def needle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("needle")
    write_needle(folder, SIZE)
    return folder


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else "".join(i["text"] for i in content if i["type"] == "text")


def frames_of(message):
    """``(time_s, pixels)`` of each picture."""
    found, time_s = [], None
    for item in message["content"] if isinstance(message["content"], list) else ():
        if item["type"] == "text":
            time_s = float(label[1]) if (label := re.search(r"\[([\d.]+) s\]$", item["text"])) else None
        else:
            png = base64.b64decode(item["image_url"]["url"].split(",")[1])
            found.append((time_s, np.asarray(Image.open(io.BytesIO(png)))))
    return found


def code_of(request):
    return re.search(r"the code (\w+)\?", text_of(request["messages"][1]))[1]


def answer(digit):
    return f"<think>I see.</think><answer>{digit}</answer>"


def crop_rightly(request):
    code = code_of(request)
    middle_s = next(t for t, frame in frames_of(request["messages"][1]) if read_code(frame, SIZE.code_length) == code)
    half_s = SIZE.scene_s / 2
    arguments = f'{{"start_time": {middle_s - half_s}, "end_time": {middle_s + half_s}}}'
    return "<think>Look.</think>\n" + write_call("crop_video", arguments)


def seeing(turn, request):
    """Crops the scene in question and reads the digit; guesses where it sees none."""
    if turn == 0 and request.get("tools"):
        return crop_rightly(request)
    seen = [frame for _, frame in frames_of(request["messages"][-1])]
    return answer(read_digit(seen, SIZE.digits, code_of(request)) or GUESS)


def guessing(turn, request):
    return answer(GUESS)
