"""Importing the reward opens no socket and needs pydantic alone; the judge's client comes with the first call."""

import subprocess
import sys

CODE = """
import importlib.abc, sys

class Core(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "openai", "httpx", "verl", "transformers", "omegaconf", "av", "PIL", "math_verify"):
            raise ImportError(name)

sys.meta_path.insert(0, Core())

def audit(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        raise RuntimeError(event)

sys.addaudithook(audit)
from longvt_plugins.reward import *
from longvt_plugins.types import Transcript, Turn
said = Transcript(turns=(Turn(role="assistant", text="<answer>red</answer>", tokens=1),), ended_by="answer")
assert compute_reward(said, "red").acc == 1.0
assert RewardConfig(judge={"endpoints": ["http://nowhere:1/v1"]}).judge.judge_id == "unknown"
"""


def test_the_core_is_enough():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
