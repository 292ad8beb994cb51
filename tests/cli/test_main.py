"""The command's frame: verbs, --json, exit codes."""

import json
import subprocess
import sys

import pytest

from longvt_plugins.cli.extras import EXTRAS, missing_extra
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


def without(modules, *words):
    """``longvt WORDS`` in a process that finds none of ``modules``."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv[1].split(',')));"
        "from longvt_plugins.cli.main import main; sys.exit(main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", code, ",".join(modules), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "module", "extra"),
    [
        ("data list", "pyarrow", "data"),
        ("check-data x.parquet", "pyarrow", "data"),
        ("check-recipe longvt_demo", "omegaconf", "rl"),
        ("migrate x.sh", "yaml", "rl"),
        ("launch longvt_demo", "omegaconf", "rl"),
        ("evaluate x --url http://x/v1 --model m -o x", "pyarrow", "eval"),
        ("ask x.mp4 What? --url http://x/v1 --model m", "pyarrow", "eval"),
    ],
)
def test_without_extras_the_one_to_install_is_named(words, module, extra):
    done = without(EXTRAS, *words.split())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert f": {module}: is not installed" in done.stderr and f"'longvt-plugins[{extra}]'" in done.stderr


def test_what_several_extras_bring_is_named_by_the_one_of_the_verb():
    told = missing_extra(ModuleNotFoundError(name="omegaconf"), "data")
    assert "'longvt-plugins[data]'" in str(told)


def test_a_recipe_of_a_trainer_that_is_not_there_names_its_extra():
    done = without(["lmms_engine"], "check-recipe", "longvt_7b_sft", "--json")
    assert done.returncode == 2
    assert "longvt-plugins[sft]" in json.loads(done.stdout)["error"]["message"]


def test_a_module_that_no_extra_brings_is_a_defect_and_stays_a_traceback():
    called = {"longvt_plugins.datasets.convert": "data list", "av": "crop x.mp4 0 1 -o x"}
    for module, words in called.items():
        done = without([module], *words.split())
        assert done.returncode == 1 and "Traceback" in done.stderr and "pip install" not in done.stderr, module


def test_overrides_may_stand_after_options(capsys):
    first = ["check-recipe", "longvt_7b_rl", "data.longvt.profile=nothing", "--no-files"]
    assert main([*first, "--gpu-memory-gib", "80", "trainer.nnodes=3"]) == 1
    said = capsys.readouterr().out
    assert main([*first[:2], "trainer.nnodes=3", *first[2:]]) == 1 and capsys.readouterr().out == said
    assert "media profile 'nothing'" in said and "batch-size" in said
    with pytest.raises(SystemExit):
        main([*first, "--nothing"])
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err


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
