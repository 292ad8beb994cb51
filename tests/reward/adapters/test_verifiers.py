"""verifiers' own scoring of a task with our reward: a score is recorded, an abstention is an error, never a 0."""

import pytest

vf = pytest.importorskip("verifiers.v1", reason="pip install verifiers")
pytestmark = pytest.mark.full


def make_task(truth):
    from longvt_plugins.reward import RewardConfig
    from longvt_plugins.reward.adapters.verifiers import LongVTReward

    class VideoData(vf.TaskData):
        ground_truth: str
        segments: list[list[float]] | None = None

    class VideoTask(LongVTReward, vf.Task[VideoData, vf.State, vf.TaskConfig]):
        longvt = RewardConfig()

    data = VideoData(idx=0, prompt="Which colour?", ground_truth=truth, segments=[[10, 12]])
    return VideoTask(data, vf.TaskConfig())


def make_trace(task):
    """A trace as verifiers builds it while it samples, without a model."""
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, TraceTask
    from verifiers.v1.types import AssistantMessage, ToolCall, ToolMessage, UserMessage

    call = ToolCall(id="1", name="crop_video", arguments='{"start_time": 10, "end_time": 12}')
    messages = [
        UserMessage(content="Which colour?"),
        AssistantMessage(content="", reasoning_content="Look.", tool_calls=[call]),
        ToolMessage(tool_call_id="1", content="4 frames"),
        AssistantMessage(content="<answer>red</answer>", reasoning_content="Seen."),
    ]
    nodes = [MessageNode(parent=i - 1 if i else None, message=message) for i, message in enumerate(messages)]
    about = TraceTask(type=type(task).__name__, data=task.data)
    return vf.Trace.model_construct(task=about, agent=AgentInfo.model_construct(), nodes=nodes, errors=[])


async def test_an_executed_crop_and_a_right_answer():
    task = make_task("red")
    trace = make_trace(task)
    await task.score(trace, None)
    assert trace.reward == pytest.approx(1 + 0.2 + 1)
    assert trace.info["longvt"]["grounding"] == 1.0


async def test_an_abstention_is_an_error():
    task = make_task("crimson")
    trace = make_trace(task)
    with pytest.raises(vf.TaskError, match="no rule decides"):
        await task.score(trace, None)
    assert trace.info["longvt"]["abstained"] and trace.rewards == {"longvt_score": None}
