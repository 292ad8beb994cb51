"""Rows: the writer's rules, and that parquet gives back what was written."""

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from longvt_plugins.datasets.chains import read_messages, read_tools
from longvt_plugins.datasets.schema import RL_SCHEMA, SFT_SCHEMA, Chain, Message, RLRow, write_chains, write_rl_rows
from longvt_plugins.datasets.tables import RowFiles, open_parquet
from longvt_plugins.errors import DataError

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
        ({"segments": [(1.0, float("inf"))]}, "0 <= start < end"),
        ({"anwser": 1}, "anwser"),
    ],
)
def test_a_bad_row_says_what_is_wrong(change, says):
    with pytest.raises(ValidationError, match=says):
        RLRow(**{**ROW, **change})


def test_a_row_says_which_tools_it_may_call():
    selections = [
        RLRow(**ROW, tools=tools).to_parquet_row()["extra_info"]["tool_selection"] for tools in (None, [], ["a"])
    ]
    assert selections == [None, ["none"], ["a"]], "verl would take an empty list for all tools"


def test_chains_survive_parquet_and_bad_ones_are_not_written(tmp_path):
    said = lambda role, text: {"role": role, "content": [{"type": "text", "text": text}]}  # noqa: E731
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    chain = Chain(id="a", messages=[said("user", "Wie heißt es?"), said("assistant", "Käse")], tools=[tool])
    others = [Chain(id="b", messages=chain.messages), Chain(id="c", messages=chain.messages, tools=[])]
    assert write_chains([chain, *others], tmp_path / "c.parquet") == 3
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.schema.equals(SFT_SCHEMA) and table.schema.metadata[b"longvt_sft_version"] == b"1"
    assert read_messages(table.to_pylist()[0]) == chain.messages
    assert [read_tools(row) for row in table.to_pylist()] == [[tool], None, []]
    with pytest.raises(ValidationError, match="must end with an assistant turn"):
        Chain(id="c", messages=[*chain.messages, said("user", "And?")])
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]


def test_no_rows_leave_an_old_file_and_another_writer_his_scratch_file(tmp_path):
    scratch = tmp_path / "r.parquet.tmp"
    scratch.write_text("of another process")
    assert write_rl_rows([RLRow(**ROW)], tmp_path / "r.parquet") == 1
    assert write_rl_rows([], tmp_path / "r.parquet") == write_rl_rows([], tmp_path / "new.parquet") == 0
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 1 and scratch.read_text() == "of another process"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.parquet", "r.parquet.tmp"]


@pytest.mark.parametrize("stopped_by", [RuntimeError, KeyboardInterrupt])
def test_what_is_not_written_whole_leaves_nothing_behind(tmp_path, stopped_by):
    def rows():
        yield RLRow(**ROW)
        raise stopped_by("in the middle")

    with pytest.raises(stopped_by, match="in the middle"):
        write_rl_rows(rows(), tmp_path / "r.parquet")
    assert [*tmp_path.iterdir()] == []


def test_a_path_is_no_pattern(tmp_path):
    file = tmp_path / "set[v2]" / "train*.parquet"
    file.parent.mkdir()
    write_rl_rows([RLRow(**ROW)], file)
    assert len(RowFiles([file])) == 1


def test_a_file_of_a_later_version_is_refused(tmp_path):
    write_rl_rows([RLRow(**ROW)], tmp_path / "r.parquet")
    table = pq.read_table(tmp_path / "r.parquet").replace_schema_metadata({"longvt_rl_version": "99"})
    pq.write_table(table, tmp_path / "later.parquet")
    with pytest.raises(DataError, match="has longvt_rl_version 99"):
        open_parquet(tmp_path / "later.parquet")
