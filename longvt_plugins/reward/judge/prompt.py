"""What the judge reads. The texts are files (``prompts/``); what is judged is delimited as data.

Each block is fenced by a mark that is a hash of all three texts, so a policy cannot write its own fence: the
text would have to contain its own hash. Equal questions give equal prompts, which caches rely on.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

PROMPTS = Path(__file__).parent / "prompts"
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            # The reason comes first: a score that follows from a reason is better than one that precedes it.
            "properties": {"reason": {"type": "string"}, "score": {"type": "number", "enum": [0, 0.5, 1]}},
            "required": ["reason", "score"],
            "additionalProperties": False,
        },
    },
}

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def clean(text: str) -> str:
    """``text`` as it can travel: NUL, control characters and lone surrogates become U+FFFD."""
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _UNPRINTABLE.sub("\ufffd", paired)


@cache
def system_prompt(file: str | None = None) -> str:
    return Path(file or PROMPTS / "system.txt").read_text(encoding="utf-8").strip()


@cache
def _user_template() -> str:
    return (PROMPTS / "user.txt").read_text(encoding="utf-8").strip()


def prompt_hash(file: str | None = None) -> str:
    """Names the prompts in force: changing either is a different judge."""
    return hashlib.sha256(f"{system_prompt(file)}\0{_user_template()}".encode()).hexdigest()[:16]


def render(question: str, reference: str, answer: str, file: str | None = None) -> list[dict[str, str]]:
    """The messages for one verdict. The texts must be ``clean``."""
    mark = hashlib.sha256("\0".join((question, reference, answer)).encode()).hexdigest()[:16]
    fields = {"mark": mark, "question": question or "(not given)", "reference": reference, "answer": answer}
    # One pass: a text that contains "{answer}" is not filled in again.
    user = re.sub(r"\{(mark|question|reference|answer)\}", lambda found: fields[found[1]], _user_template())
    return [{"role": "system", "content": system_prompt(file)}, {"role": "user", "content": user}]
