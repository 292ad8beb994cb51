"""Like with like, question by question."""

import json

import pytest

from longvt_plugins.cli.main import main
from longvt_plugins.errors import ConfigError, DataError
from longvt_plugins.evaluation.compare import compare, sign_test
from longvt_plugins.evaluation.report import read_results
from longvt_plugins.evaluation.results import HEADER, RECORDS, Header, open_result
from longvt_plugins.testing.records import evaluated
from longvt_plugins.types import Transcript

HEADER_A = Header(
    model="a", mode="crops", rows="r", questions=4, profile="frames-time", template="t", options={"response_length": 9}
)


def write(folder, scores, judges="", **changes):
    """A result with these answer scores; ``None``: a fault.

    Args:
        judges: who decided the first answers, a letter each; a rule decided the others.
    """
    with open_result(folder, HEADER_A.model_copy(update=changes)) as result:
        for number, acc in enumerate(scores):
            transcript = Transcript(ended_by="fault" if acc is None else "answer")
            judge = judges[number : number + 1]
            decided = {"decided_by": "judge", "judge_id": judge} if judge else {}
            result.add(evaluated(str(number), transcript, acc, faulted=acc is None, **decided))
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


def test_other_weights_under_one_name_are_another_model(tmp_path):
    a = write(tmp_path / "a", [1] * 4, weights="x")
    with pytest.raises(ConfigError, match='holds another evaluation: weights: "x", not "y"'):
        write(a, [], weights="y")
    trained = write(tmp_path / "trained", [0] * 4, weights="y")
    assert compare(a, trained).worse == 4
    blank = write(tmp_path / "blank", [0] * 4, weights="y", mode="blank")
    with pytest.raises(ConfigError, match=r"are unlike: mode: .*; weights: "):
        compare(a, blank)
    with pytest.raises(ConfigError, match=r"blank: is unlike .*/a: weights: "):
        read_results([write(tmp_path / "b", [1] * 4, model="b", weights="z"), a, blank])


def test_a_header_from_before_weights_were_known_goes_on(tmp_path):
    header = write(tmp_path / "a", [1] * 3) / HEADER
    fields = json.loads(header.read_text())
    del fields["weights"]
    header.write_text(json.dumps(fields))
    assert compare(write(tmp_path / "a", [1] * 4, weights="x"), tmp_path / "a").paired == 4


def test_modes_of_one_model_are_compared(tmp_path):
    found = compare(write(tmp_path / "a", [1] * 4), write(tmp_path / "b", [0] * 4, mode="blank"))
    assert (found.difference, found.worse) == (-1, 4)


@pytest.mark.parametrize(
    "a, b, named",
    [
        ("jj", "kk", r"a by j; \S*b by k"),
        ("jk", "jk", r"a by j, k; \S*b by j, k"),
        ("jk", "", r"a by j, k; \S*b by none"),
    ],
)
def test_what_two_judges_decided_is_refused_with_their_names(tmp_path, a, b, named):
    """One that another judge went on with, too: nobody knows who judges the next question."""
    write(tmp_path / "a", [1] * 4, a)
    write(tmp_path / "b", [1] * 4, b, model="b")
    for refused in (lambda: compare(tmp_path / "a", tmp_path / "b"), lambda: compare(tmp_path / "b", tmp_path / "a")):
        with pytest.raises(ConfigError, match="were not judged by one judge"):
            refused()
    with pytest.raises(ConfigError, match=named):
        compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ConfigError, match="judge"):
        read_results([tmp_path / "a", tmp_path / "b"])


def test_answers_that_rules_decided_compare_with_judged_ones(tmp_path):
    a, b = write(tmp_path / "a", [1] * 4, "jj"), write(tmp_path / "b", [1] * 4, model="b")
    assert compare(a, b).paired == 4 and len(read_results([a, b])) == 2


def asked_at(url, **changes):
    endpoints = [{"url": url, "api_key_env": f"KEY_OF_{url}"}]
    judge = {"endpoints": endpoints, "ledger": f"{url}.jsonl", "model": None}
    return {"response_length": 9, "reward": {"answer": 1.0, "judge": judge | changes}}


def test_where_the_judge_is_asked_does_not_matter(tmp_path):
    a = write(tmp_path / "a", [1] * 4, "jj", options=asked_at("here"))
    b = write(tmp_path / "b", [1] * 2, "j", options=asked_at("here"), model="b")
    write(b, [1] * 4, "jj", options=asked_at("there"), model="b")
    assert compare(a, b).paired == 4
    c = write(tmp_path / "c", [1] * 4, "jj", options=asked_at("here", max_tokens=9), model="b")
    for other in ({"response_length": 9, "reward": {"answer": 1.0, "judge": None}}, asked_at("here")):
        with pytest.raises(ConfigError, match=r"options\.reward"):
            write(c, [], options=other, model="b")


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
