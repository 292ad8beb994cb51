"""Like with like, question by question."""

import json

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.evaluation.compare import compare, sign_test
from longvt_plugins.evaluation.results import HEADER, RECORDS, Header, open_result
from longvt_plugins.testing.records import evaluated
from longvt_plugins.types import Transcript

HEADER_A = Header(
    model="a", mode="crops", rows="r", questions=4, profile="frames-time", template="t", options={"response_length": 9}
)


def write(folder, scores, **changes):
    """A result with these answer scores; ``None``: a fault."""
    with open_result(folder, HEADER_A.model_copy(update=changes)) as result:
        for number, acc in enumerate(scores):
            transcript = Transcript(ended_by="fault" if acc is None else "answer")
            result.add(evaluated(str(number), transcript, acc, faulted=acc is None))
    return folder


def test_only_questions_with_two_scores_are_compared(tmp_path):
    found = compare(write(tmp_path / "a", [0, 0, 1, 1]), write(tmp_path / "b", [1, 1, 1, None], model="b"))
    assert (found.paired, found.better, found.worse, found.p) == (3, 2, 0, 0.5)
    assert found.difference == pytest.approx(2 / 3)
    assert (found.a.accuracy, found.b.accuracy, found.b.faulted) == (0.5, 1, 1)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"rows": "other"}, "rows"),
        ({"profile": "longvt-compat"}, "profile"),
        ({"template": "other"}, "template"),
        ({"options": {"response_length": 10}}, "options.response_length"),
        ({"options": {"response_length": 9, "opening": "<think>"}}, "options.opening"),
        ({"model": "b", "mode": "blank"}, "model"),
    ],
)
def test_unlike_results_are_refused_with_what_differs(tmp_path, changes, named):
    write(tmp_path / "a", [1, 1, 1, 1])
    write(tmp_path / "b", [1, 1, 1, 1], **changes)
    with pytest.raises(ConfigError, match=f"are unlike: {named}:"):
        compare(tmp_path / "a", tmp_path / "b")


def test_modes_of_one_model_are_compared(tmp_path):
    found = compare(write(tmp_path / "a", [1] * 4), write(tmp_path / "b", [0] * 4, mode="blank"))
    assert (found.difference, found.worse) == (-1, 4)


def test_an_unfinished_result_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has 3 of 4"):
        compare(write(tmp_path / "a", [1] * 4), write(tmp_path / "b", [0] * 3, model="b"))


def test_records_without_their_header_are_not_continued(tmp_path):
    (write(tmp_path / "a", [1]) / HEADER).unlink()
    with pytest.raises(ConfigError, match=f"{RECORDS} and no {HEADER}"):
        write(tmp_path / "a", [1])
    with pytest.raises(DataError, match="no header"):
        compare(tmp_path / "a", tmp_path / "a")


def test_the_sign_test():
    assert sign_test(0, 0) == sign_test(5, 5) == 1
    assert sign_test(6, 0) == sign_test(0, 6) == pytest.approx(2 / 64)


def test_the_command(tmp_path, capsys):
    write(tmp_path / "a", [0, 0, 1, 1])
    write(tmp_path / "b", [1, 1, 1, 1], model="b")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "+0.500; 2 better, 0 worse" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paired"] == 4
    assert main(["compare", str(tmp_path / "a"), str(tmp_path)]) == 2
