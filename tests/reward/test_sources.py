"""Every data source and option of the original, by name, with the totals that the original's formulas give."""

import pytest

from longvt_plugins.datasets.convert import CONVERTERS
from longvt_plugins.reward import RewardConfig, compute_reward
from longvt_plugins.reward.sources import SOURCES, source_of
from longvt_plugins.types import CallRecord, CropCall, CropOutcome, Transcript, Turn

CALL = '<think>Look.</think><tool_call>\n{"name": "crop_video", "arguments": {}}\n</tool_call>'


def trajectory(answer="red", spans=((0.0, 4.0), (10.0, 12.0))):
    outcomes = [CropOutcome(status="ok", reply="", span_s=span) for span in spans]
    calls = tuple(CallRecord(turn=0, call=CropCall(raw=CALL), outcome=outcome) for outcome in outcomes)
    said = [CALL] * len(spans) + [f"<think>Seen.</think><answer>{answer}</answer>"]
    return Transcript(
        turns=tuple(Turn(role="assistant", text=text, tokens=1) for text in said), calls=calls, ended_by="answer"
    )


def score(options, answer="red", segments=((10.0, 14.0),), source="longvt", **rest):
    return compute_reward(
        trajectory(answer, **rest), "red", ["red", "blue"], segments, RewardConfig(**options), data_source=source
    ).score


IOU, RECALL = 0.5, 0.5
TOTALS = [
    ({"use_iou_reward": True}, 1 + 1 + IOU, 0 + 1 + IOU),
    ({"use_time_reward": True}, 1 + 1 + RECALL, 0 + 1 + RECALL),
    ({"tool_use_reward": True}, 3, 1),
    ({"use_new_reward": True}, 2, 1),
    ({"use_iou_reward": False}, 0.8 + 0.2, 0.2),
    ({"tool_use_reward": True, "use_iou_reward": True}, 3, 1),
    ({"use_time_reward": True, "use_iou_reward": True}, 2 + RECALL, 1 + RECALL),
    ({"profile": "parity"}, 1 + 1 + IOU, 0 + 1 + IOU),
]


@pytest.mark.parametrize(("options", "right", "wrong"), TOTALS)
def test_totals_of_the_original(options, right, wrong):
    assert score(options) == pytest.approx(right)
    assert score(options, answer="blue") == pytest.approx(wrong)


def test_parity_without_grounding():
    assert score({"profile": "parity"}, segments=None) == pytest.approx(0.8 + 0.2)
    assert score({"profile": "parity"}, answer="blue", segments=None) == pytest.approx(0.2)


def test_our_defaults():
    union_iou = 2 / 8
    assert score({}) == pytest.approx(1 + 0.2 + union_iou)
    assert score({}, segments=None) == pytest.approx(1.2)
    assert score({"profile": "parity", "format": 0.0}) == pytest.approx(1 + IOU), "a field beside the profile wins"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_scores(name):
    window = source_of(name).task == "interval"
    record = compute_reward(
        trajectory("10 to 14" if window else "red"),
        "[10, 14]" if window else "red",
        segments=[(10, 14)],
        data_source=name,
    )
    assert record.acc == 1.0 and record.task == source_of(name).task
    assert record.score == (1.0 if name == "longvt-val" else pytest.approx(1 + 0.2 + 2 / 8))


@pytest.mark.parametrize("name", ["TimeR1/TVG-R1-charades", "TVG-R1/activitynet", "TimeR1"])
def test_sources_named_by_prefix(name):
    half = compute_reward(trajectory("10 to 12"), "10 to 14", data_source=name)
    assert half.acc == 0.5 and half.reason == "IoU of the window" and half.grounding is None
    recall = RewardConfig(use_recall=True)
    assert recall == RewardConfig(interval_measure="recall")
    assert compute_reward(trajectory("0 to 14"), "10 to 14", config=recall, data_source=name).acc == 1.0


@pytest.mark.parametrize("name", [name for name, c in CONVERTERS.items() if c.module == "grounding"])
def test_what_our_converters_write_is_scored_by_overlap(name):
    """Under the converter's name, with the command line's underscores, and under its own default."""
    assert [source_of(n).task for n in (name, name.replace("-", "_"), "grounding")] == ["interval"] * 3


def test_an_unlisted_source_is_an_open_question():
    assert source_of("my-own-data").task == "answer"
    assert compute_reward(trajectory("crimson"), "red", data_source="my-own-data").abstained
    exact = RewardConfig(task="exact")
    assert compute_reward(trajectory("crimson"), "red", config=exact, data_source="my-own-data").acc == 0.0


def test_a_misspelt_profile_or_option_is_refused():
    for options in ({"profile": "partiy"}, {"use_iou_rewrad": True}):
        with pytest.raises(ValueError):
            RewardConfig(**options)
