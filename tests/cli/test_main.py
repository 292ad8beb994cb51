"""The command's frame: verbs, --json, exit codes."""

import json

import pytest

from longvt_plugins.cli.main import VERBS, main


def test_every_verb_has_help(capsys):
    for verb in VERBS:
        with pytest.raises(SystemExit) as done:
            main([verb, "--help"])
        assert done.value.code == 0
        assert "--json" in capsys.readouterr().out


def test_an_unknown_verb_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as done:
        main(["dcotor"])
    assert done.value.code == 2
    assert "invalid choice: 'dcotor'" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(["summary", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "holds no trajectories" in err


def test_json_carries_the_same_error(tmp_path, capsys):
    assert main(["summary", str(tmp_path), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False and answer["error"]["kind"] == "ConfigError"


def test_an_empty_run_is_exit_code_1(tmp_path, capsys):
    (tmp_path / "trajectories").mkdir()
    assert main(["summary", str(tmp_path)]) == 1


def test_summary_of_a_run(tmp_path, capsys):
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[1] / "trainer"))
    from test_trajectory_log import record

    from longvt_plugins.trainer import trajectory_log

    trajectory_log.write(tmp_path / "trajectories", "train", 1, [record(grounding=0.5), record(abstained=True)])
    assert main(["summary", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["steps"]
    assert (row["trajectories"], row["excluded"], row["score"], row["grounding"]) == (2, 1, 1.2, 0.5)
