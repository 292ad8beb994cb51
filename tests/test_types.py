"""The records that cross rooms survive pickle and JSON, and do not drop what they do not know."""

import pickle

import pytest
from pydantic import ValidationError

from longvt_plugins import errors
from longvt_plugins.types import CallRecord, CropCall, CropOutcome, Fault, MediaRef, Transcript, Turn

MEDIA = MediaRef(path="/v/a.mp4", identity="10-20", times_s=(0.5, 1.5), size=(56, 112))
OUTCOME = CropOutcome(status="ok", reply="2 frames", span_s=(0.0, 2.0), times_s=(0.5, 1.5), media=MEDIA)
TRANSCRIPT = Transcript(
    turns=(Turn(role="assistant", text="hm", tokens=1),),
    calls=(CallRecord(turn=0, call=CropCall(raw="x", name="crop_video", arguments={"a": 1}), outcome=OUTCOME),),
    limits={"max_calls": 5},
    ended_by="answer",
)


def test_records_survive_pickle_and_json():
    assert pickle.loads(pickle.dumps(TRANSCRIPT)) == TRANSCRIPT
    assert Transcript.model_validate_json(TRANSCRIPT.model_dump_json()) == TRANSCRIPT
    assert TRANSCRIPT.model_dump(mode="json")["version"] == 1


def test_records_are_frozen_closed_and_versioned():
    with pytest.raises(ValidationError):
        TRANSCRIPT.ended_by = "fault"
    with pytest.raises(ValidationError):
        MediaRef(path="a", identity="b", times_s=(), size=(1, 1), surprise=1)
    with pytest.raises(ValidationError):
        Transcript.model_validate({**TRANSCRIPT.model_dump(), "version": 2})


def test_only_executed_crops_count():
    failed = OUTCOME.model_copy(update={"status": "failed"})
    calls = (TRANSCRIPT.calls[0], TRANSCRIPT.calls[0].model_copy(update={"outcome": failed}))
    assert TRANSCRIPT.model_copy(update={"calls": calls}).crops_ok() == (OUTCOME,)


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type)])
def test_every_error_is_picklable_and_states_value_rule_remedy(kind):
    error = pickle.loads(pickle.dumps(kind("x.mp4", "is empty", "Fetch it again.")))
    assert type(error) is kind
    assert str(error) == "x.mp4: is empty. Fetch it again."
    assert (error.value, error.rule, error.remedy) == ("x.mp4", "is empty", "Fetch it again.")
    assert Fault.of(error) == Fault(kind=kind.__name__, message=str(error))
