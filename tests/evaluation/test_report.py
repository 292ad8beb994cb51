"""Stages side by side: what is like stands in one table, what is unlike is refused."""

import pytest
from PIL import Image

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError
from longvt_plugins.evaluation.report import read_results, read_steps, results_table, steps_table
from longvt_plugins.evaluation.results import EvaluationRecord, Header, open_result
from longvt_plugins.trainer import trajectory_log
from longvt_plugins.types import RewardRecord, TrajectoryRecord, Transcript


def reward(acc, **others):
    fields = {"score": acc + 0.2, "acc": acc, "format": 1.0, "grounding": 0.5, "tool_calls": 1, "crops_ok": 1}
    return RewardRecord(**{**fields, "abstained": False, "faulted": False, "reason": "", **others})


def write(folder, model, mode, scores, questions=None, **options):
    header = Header(
        model=model, mode=mode, rows="r", questions=questions or len(scores), profile="frames-time",
        template="t", options=options,
    )  # fmt: skip
    with open_result(folder, header) as result:
        for number, acc in enumerate(scores):
            record = EvaluationRecord(
                id=str(number), data_source="s", question="q", ground_truth="a", segments=((0, 1),),
                transcript=Transcript(ended_by="answer", media_profile="frames-time"), reward=reward(acc),
            )  # fmt: skip
            result.add(record)
    return folder


def trajectories(folder, scores_by_step):
    for step, scores in scores_by_step.items():
        records = [
            TrajectoryRecord(
                run="r",
                step=step,
                split="train",
                group=str(n),
                session=0,
                data_source="s",
                sample_index=n,
                question="q",
                ground_truth="a",
                transcript=Transcript(ended_by="answer", media_profile="frames-time"),
                reward=reward(acc, faulted=acc < 0),
                included=True,
                advantage=0.0,
                prompt_ids=[],
                response_ids=[],
                response_mask=[],
                rollout_log_probs=None,
                weights_step=(0, 0),
            )
            for n, acc in enumerate(scores)
        ]
        trajectory_log.write(str(folder), "train", step, records)
    return folder


def test_a_line_per_checkpoint_and_mode(tmp_path):
    folders = [
        write(tmp_path / "a", "sft", "crops", [1.0, 0.0]),
        write(tmp_path / "b", "sft", "blank", [0.0, 0.0]),
        write(tmp_path / "c", "rl", "crops", [1.0, 1.0]),
    ]
    table = results_table(read_results(folders)).splitlines()
    assert table[2] == "| sft | crops | 2 | 0.50 | 1.00 | 1.00 | 0.00 | 0 | 0 |"
    assert [line.split(" | ")[3] for line in table[2:]] == ["0.50", "0.00", "1.00"]


def test_unlike_results_are_refused(tmp_path):
    folders = [
        write(tmp_path / "a", "sft", "crops", [1.0], response_length=64),
        write(tmp_path / "b", "rl", "crops", [1.0], response_length=128),
    ]
    with pytest.raises(ConfigError, match=r"options\.response_length: 64, not 128"):
        read_results(folders)


def test_unfinished_results_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="has 1 of 2 questions"):
        read_results([write(tmp_path / "a", "sft", "crops", [1.0], questions=2)])


def test_steps_are_means_of_what_was_scored(tmp_path):
    steps = read_steps(trajectories(tmp_path / "t", {2: [1.0, 1.0], 1: [1.0, 0.0, -1.0]}))
    assert [(step.step, step.trajectories, round(step.score, 3)) for step in steps] == [(1, 2, 0.7), (2, 2, 1.2)]
    assert steps_table(steps).splitlines()[2] == "| 1 | 2 | 0.70 | 0.50 | 0.50 | 1.00 |"


def test_the_verb_writes_table_and_picture(tmp_path, capsys):
    result = write(tmp_path / "a", "sft", "crops", [1.0, 0.0])
    steps = trajectories(tmp_path / "t", {1: [0.0], 2: [1.0]})
    assert main(["report", str(result), "--rl", str(steps), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "table.md").read_text().strip() == capsys.readouterr().out.strip()
    with Image.open(tmp_path / "out" / "plot.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 16)}
    assert {(31, 119, 180), (255, 255, 255)} <= colours


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rl", "typo", "-o", "out"], "typo: holds no train trajectories"),
        (["--rl", "t", "-o", "file"], "file: cannot be written (File exists)"),
    ],
)
def test_what_is_not_there_or_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    trajectories(tmp_path / "t", {1: [1.0]})
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    assert capsys.readouterr().err.startswith(f"longvt report: {says}")
