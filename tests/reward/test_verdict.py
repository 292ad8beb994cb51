"""Every form of reply is right or unparsable; a wrong number is the one thing that must not happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longvt_plugins.reward import parse_verdict
from longvt_plugins.reward.verdict import parse_reply

READABLE = [
    ("1", 1), ("0", 0), ("0.5", 0.5), ("1.0", 1), ("0.0", 0), ("1.", 1), (".5", 0.5), ("0.50", 0.5), (" 1 \n", 1),
    ("**1**", 1), ("**0.5**", 0.5),
    ("0.5\nOne of the two points is missing.", 0.5),
    ("0\nThe standard answer says 1 dog, the answer says 10.", 0),
    ("Judgement: 1", 1), ("Judgement: 0", 0), ("Judgement: 0.5", 0.5), ("judgment: 1.0", 1), ("Score: 0", 0),
    ("Verdict = 0.5", 0.5), ("**Judgement:** 1", 1), ("**Judgement: 0**", 0), ("### Judgement: 1", 1),
    ("- Score: 0.5", 0.5), ("The final score is 1", 1), ("Final verdict: 0.", 0), ("The verdict is 0.5.", 0.5),
    ("Judgement: 0.5 (1 of 2 key points)", 0.5), ("Judgement: 1 (not 0)", 1), ("Judgement: 1, same meaning", 1),
    ("Judgement: 0 - another colour", 0), ("Judgement: 1. Both say pink.", 1),
    ("The answers agree.\nJudgement: 1", 1),
    ("Judgement: 0\nThe reference has 1 cat and the answer has none.", 0),
    ('{"score": 1}', 1), ('{"score": 0.5, "reason": "half"}', 0.5), ('{"reason": "1 of 2", "score": 0}', 0),
    ('{"score": 1.0}', 1), ('{"score": "1"}', 1), ('{"score": "0.5"}', 0.5), ('{"Score": 0}', 0),
    ('{"verdict": 1}', 1), ('{"judgement": 0}', 0), ('```json\n{"score": 1}\n```', 1), ('```\n{"score": 0}\n```', 0),
    ("```\n0.5\n```", 0.5), ('<think>They differ, so 0? No: 1.</think>{"score": 1}', 1),
    ("<think>\nScore: 0\n</think>\n\nJudgement: 1", 1), ('{"score": 1, "other": {"score": 0}}', 1),
]  # fmt: skip
UNPARSABLE = [
    "", " ", "\n", "yes", "correct", "TRUE", "2", "-1", "0.7", "1.5", "10", "01", "1/2", "50%", "1%", "\u00bd",
    "\uff11", "one", "1 or 0", "1, 0", "0 0.5 1", "1 0", "1\n0", "0\n1", "0.5 (1 of 2 key points)",
    "1. The answer is wrong.", "Judgement:", "Judgement: yes", "Judgement: 1 or 0", "Judgement: 1/2",
    "Judgement: 1 out of 2",
    "Judgement: 1.5", "Judgement: 10", "Judgement: 0.55", "Judgement: -1", "Judgement: 1%", "Judgement: 1 0",
    "Judgement: 1, 0", "Judgement: 1, or 0", "Judgement: 1 (or maybe 0)", "Judgement: 1, minus 0.5",
    "Judgement: 1\nJudgement: 0", "Score: 1\nVerdict: 0", "1\nJudgement: 0", "Judgement: 1\n0",
    "Verdict: 1\nNo wait, my verdict is 0.", "1\nThe score would be 0 if it were strict.",
    "Score: 1 is what it asks for",
    "The student wrote:\nJudgement: 1\nbut that is not an answer.",
    "I cannot answer 1.", "The answer deserves 1", "The score could be 1", "I give it a score: 1",
    '{"score": 2}', '{"score": true}', '{"score": false}', '{"score": null}', '{"score": "yes"}', '{"score": [1]}',
    '{"score": NaN}', '{"score": Infinity}', '{"score": 1e9}', '{"rating": 1}', "{}", "[1]", '{"score": 1',
    '{"score": 1, "score": 0}', '{"score": 1, "verdict": 0}', '{"score": 1}{"score": 0}', '{"score": 1} or 0',
    'The answer says {"score": 1}, which is an instruction to me.', 'Here: {"score": 1}', "{'score': 1}",
    '```json\n{"score": 1}\n```\n```json\n{"score": 0}\n```', "<think>1", "<think>0</think>", "1</think>0",
    "<think>a</think></think>1", '{"score": 1}' + " " * 30_000, "{" * 10_000,
]  # fmt: skip


def test_the_table_is_large_enough():
    assert len(READABLE) + len(UNPARSABLE) >= 60 and len(READABLE) > 40


@pytest.mark.parametrize(("reply", "score"), READABLE)
def test_readable(reply, score):
    assert parse_verdict(reply) == score


@pytest.mark.parametrize("reply", UNPARSABLE)
def test_unparsable(reply):
    assert parse_verdict(reply) is None


def test_the_reason_is_kept():
    assert parse_reply('{"score": 0.5, "reason": "one of two"}') == (0.5, "one of two")
    assert parse_reply("Judgement: 0.5 (1 of 2 key points)") == (0.5, "1 of 2 key points")
    assert parse_reply("0\nAnother colour.") == (0.0, "Another colour.")


@given(st.text(max_size=200))
def test_any_text_is_a_verdict_or_nothing(text):
    assert parse_verdict(text) in (None, 0.0, 0.5, 1.0)


@given(st.sampled_from([0, 0.5, 1]), st.text(max_size=100))
def test_what_a_judge_writes_as_json_is_read_back(score, reason):
    import json

    assert parse_verdict(json.dumps({"reason": reason, "score": score})) == score
