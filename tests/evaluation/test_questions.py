"""A row asks the same here and in verl's rollout."""

import pytest

from longvt_plugins.datasets.schema import Message, RLRow, write_rl_rows
from longvt_plugins.errors import DataError
from longvt_plugins.evaluation.questions import hash_of, read_questions
from longvt_plugins.tokens.profiles import profile_named


@pytest.mark.parametrize("profile", ["frames-time", "longvt-compat"])
def test_prompts_are_those_of_the_rollout(demo, tokenizer, profile):
    from transformers import AutoProcessor

    from longvt_plugins.datasets import LongVTDataset

    data = demo.compose(f"+data.longvt.profile={profile}").data
    dataset = LongVTDataset(str(data.val_files), tokenizer, data, AutoProcessor.from_pretrained(demo.folder / "model"))
    questions = read_questions(data.val_files, data.longvt.video_root)
    assert len(questions) == len(dataset)
    for number, question in enumerate(questions):
        row = dataset[number]
        assert question.messages(profile_named(profile), dataset.overview) == row["raw_prompt"]
        assert list(question.videos) == row["tools_kwargs"]["crop_video"]["create_kwargs"]["videos"]


def row(index=0, tools=None, **changes):
    prompt = [Message(role="user", content="<video> What?")]
    fields = {"data_source": "d", "prompt": prompt, "videos": ["a.mp4"], "question": "What?", "ground_truth": "1"}
    return RLRow(**(fields | changes), index=index, tools=tools)


def test_videos_lie_beside_the_rows_and_a_row_may_forbid_the_tool(tmp_path):
    write_rl_rows([row(), row(1, tools=[]), row(2, tools=["crop_video"])], tmp_path / "rows.parquet")
    questions = read_questions(tmp_path / "rows.parquet")
    assert questions[0].videos == (str(tmp_path / "a.mp4"),)
    assert [question.may_crop for question in questions] == [True, False, True]


def test_the_hash_is_of_what_the_rows_say(tmp_path):
    hashes = []
    for number, rows in enumerate(([row()], [row()], [row(ground_truth="2")], [row(), row(1)])):
        write_rl_rows(rows, tmp_path / f"{number}.parquet")
        hashes.append(hash_of(read_questions(tmp_path / f"{number}.parquet")))
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3


def test_rows_that_cannot_be_asked_are_named(tmp_path):
    pictures = row(prompt=[Message(role="user", content="<image> What?")], videos=[], images=["a.png"])
    for bad, named in ((pictures, "shows pictures"), (row(ground_truth=""), "no answer can be right")):
        write_rl_rows([row(), bad], tmp_path / "rows.parquet")
        with pytest.raises(DataError, match=f"row 1: .*{named}"):
            read_questions(tmp_path / "rows.parquet")
