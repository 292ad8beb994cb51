"""RL rows: the writer's rules, and that parquet gives back what was written."""

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from longvt_plugins.datasets.schema import RL_SCHEMA, Message, RLRow, write_rl_rows

ROW = {
    "data_source": "d",
    "prompt": [Message(role="user", content="<video>\nWhat?")],
    "videos": ["a.mp4"],
    "question": "What?",
    "ground_truth": "red",
    "index": 3,
    "segments": [(1.0, 2.5)],
}


def test_rows_survive_parquet(tmp_path):
    bare = {**ROW, "segments": [], "options": ["red", "blue"]}
    write_rl_rows([RLRow(**ROW), RLRow(**bare)], str(tmp_path / "rows.parquet"))
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.equals(RL_SCHEMA)
    first, second = table.to_pylist()
    assert first["extra_info"]["segments"] == [[1.0, 2.5]] and first["extra_info"]["options"] == []
    assert second["extra_info"]["segments"] == [] and second["reward_model"]["ground_truth"] == "red"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"videos": []}, "1 <video> placeholders for 0 videos"),
        ({"segments": [(3.0, 2.0)]}, "0 <= start < end"),
        ({"segments": [(float("nan"), 2.0)]}, "0 <= start < end"),
        ({"anwser": 1}, "anwser"),
    ],
)
def test_a_bad_row_says_what_is_wrong(change, says):
    with pytest.raises(ValidationError, match=says):
        RLRow(**{**ROW, **change})
