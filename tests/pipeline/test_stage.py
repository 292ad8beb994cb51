"""A stage is done once for what it was made from, and nothing of it is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from longvt_plugins.errors import ConfigError, StageError
from longvt_plugins.pipeline import processes
from longvt_plugins.pipeline.stage import Stage
from longvt_plugins.pipeline.stamp import read_stamp

ROOT = Path(__file__).parents[2]
COPY = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2]); open('runs', 'a').write('x')"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").write_text("first")
    return tmp_path


def python(code: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *words)


def stage(name="copy", source="in", target="out", redo=False, command=None) -> Stage:
    made_by = command or python(COPY, source, target)
    return Stage(name, Path("run"), made_by, (source,) if source else (), (target,), redo=redo)


def said(one: Stage) -> list[str]:
    lines: list[str] = []
    one.run(lines.append)
    return lines


def runs() -> int:
    return len(Path("runs").read_text())


def test_it_is_done_once(here):
    assert said(stage())[0] == "copy: begins"
    assert said(stage())[0].startswith("copy: done before") and runs() == 1
    stamp = read_stamp(Path("run/stages/copy.json"))
    assert stamp.state == "done" and stamp.outputs["out"].size == 5 and "torch" in stamp.origin.packages


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: Path("in").write_text("other"), "file in changed"),
        (lambda: Path("out").write_text("fir"), "file out changed"),
        (lambda: rewrite_package("torch", "0.1"), "package torch: .*, was '0.1'"),
    ],
)
def test_a_change_is_refused_with_the_reason_or_made_again(here, change, told):
    stage().run()
    change()
    with pytest.raises(ConfigError, match=told):
        stage().run()
    stage(redo=True).run()
    assert runs() == 2 and Path("out").read_text() == Path("in").read_text()


def rewrite_package(name: str, version: str) -> None:
    file = Path("run/stages/copy.json")
    stamp = read_stamp(file)
    packages = {**stamp.origin.packages, name: version}
    file.write_text(
        stamp.model_copy(update={"origin": stamp.origin.model_copy(update={"packages": packages})}).model_dump_json()
    )


def test_a_changed_override_of_a_recipe_is_named(here):
    def train(*overrides):
        words = ("verl.trainer.main_ppo", "--config-name", "longvt_demo", *overrides)
        return stage(command=python("import shutil; shutil.copy('in', 'out')", *words))

    train().run()
    with pytest.raises(ConfigError, match=r"recipe trainer\.save_freq: 2, was 4"):
        train("trainer.save_freq=2").run()


def of_recipe(text: str) -> Stage:
    """Trains with a recipe that adds ``text`` to the demo's."""
    Path("own.yaml").write_text(f"defaults: [longvt_demo, _self_]\n{text}\n")
    words = ("verl.trainer.main_ppo", "--config-name", "own.yaml")
    return stage(command=python("import shutil; shutil.copy('in', 'out')", *words))


def test_a_setting_out_of_the_environment_counts(here, monkeypatch):
    recipe = "trainer: {save_freq: '${oc.decode:${oc.env:SAVES}}'}"
    monkeypatch.setenv("SAVES", "4")
    of_recipe(recipe).run()
    assert "done before" in said(of_recipe(recipe))[0]
    monkeypatch.setenv("SAVES", "2")
    with pytest.raises(ConfigError, match=r"recipe trainer\.save_freq: 2, was 4"):
        of_recipe(recipe).run()
    monkeypatch.delenv("SAVES")
    with pytest.raises(ConfigError, match="SAVES"):
        of_recipe(recipe).run()


def test_a_place_out_of_the_environment_is_told_and_refuses_nothing(here, monkeypatch):
    """A judge that moved to another node must not cost a run of RL."""
    recipe = "longvt: {judge: ['${oc.env:LONGVT_JUDGE}'], of: '${oc.env:USER}', key: '${oc.env:WANDB_API_KEY}'}"
    monkeypatch.setenv("LONGVT_JUDGE", "http://a/v1")
    for name in ("USER", "WANDB_API_KEY"):
        monkeypatch.setenv(name, "somebody")
    of_recipe(recipe).run()
    assert said(of_recipe(recipe))[0].endswith(" s")
    monkeypatch.setenv("LONGVT_JUDGE", "http://b/v1")
    monkeypatch.setenv("USER", "else")
    told = "(place longvt.judge: ['http://b/v1'], was ['http://a/v1']: not compared)"
    assert said(of_recipe(recipe))[0].endswith(told)
    file = Path("run/stages/copy.json")
    assert "somebody" not in file.read_text()
    file.write_text(read_stamp(file).model_copy(update={"state": "begun"}).model_dump_json())
    assert said(of_recipe(recipe))[0] == f"copy: goes on {told}"


def test_a_recipe_that_does_not_compose_stops_it(here):
    words = ("lmms_engine.launch.cli", "--config-name", "longvt_demo_stf")
    with pytest.raises(ConfigError, match="longvt_demo_stf"):
        stage(command=python("pass", *words)).run()


def test_outputs_of_nobody_are_not_touched(here):
    Path("out").write_text("mine")
    with pytest.raises(ConfigError, match="stage copy did not make it"):
        stage(redo=True).run()
    assert Path("out").read_text() == "mine"


def test_what_failed_goes_on_where_it_was(here):
    code = "import os, sys; os.path.exists('out') and sys.exit(0); open('out', 'w').write('half'); sys.exit(3)"
    with pytest.raises(StageError, match="exit code 3"):
        stage(command=python(code)).run()
    assert read_stamp(Path("run/stages/copy.json")).state == "begun"
    assert said(stage(command=python(code)))[0] == "copy: goes on" and Path("out").read_text() == "half"


def test_a_command_that_makes_nothing_has_failed(here):
    with pytest.raises(StageError, match="left no out"):
        stage(command=python("pass")).run()


def test_what_the_command_said_last_is_shown(here):
    with pytest.raises(StageError, match="ValueError: the reason"):
        stage(command=python("raise ValueError('the reason')")).run()


def test_inputs_must_be_what_their_stage_made(here):
    stage().run()
    Path("out").write_text("f")
    with pytest.raises(ConfigError, match="out: is not what stage copy made: file out changed"):
        stage("next", "out", "end").run()
    file = Path("run/stages/copy.json")
    file.write_text(read_stamp(file).model_copy(update={"state": "begun"}).model_dump_json())
    with pytest.raises(ConfigError, match="stage copy, which makes it, is not done"):
        stage("next", "out", "end").run()


def test_a_missing_input_is_named(here):
    with pytest.raises(ConfigError, match="nothing: does not exist"):
        stage(source="nothing").run()


def test_a_file_that_may_not_grow_is_the_reason_it_fails(here):
    """A limit on the size of files stands for a full disk: the same errors from the same calls."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); import signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); open('out', 'wb', 0).write(bytes(900));"
        "f = open('out', 'ab', 0); f.write(bytes(100)); f.write(bytes(100))"
    )
    with pytest.raises(StageError, match="File too large"):
        stage(command=python(code)).run()
    assert read_stamp(Path("run/stages/copy.json")).state == "begun"


ESCAPES = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    "start_new_session=True); open('out', 'w').write('half'); time.sleep(600)"
)


def heed_sigint() -> None:
    """A shell starts background jobs, the tests perhaps among them, with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_and_it_goes_on(here, number):
    """Also what left the process group, and also when the stage itself was killed: the next one ends what it finds."""
    command = [sys.executable, "-m", "longvt_plugins.cli.main", "stage", "--name", "copy", "--folder", "run"]
    command += ["--inputs", "in", "--outputs", "out", "--", *python(ESCAPES)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed_sigint)
    mark = str(Path("run/stages/copy.json").resolve())
    while not Path("out").exists():
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(number)
    running.communicate(timeout=60)
    assert running.returncode in (130, 128 + number, -number)
    if number != signal.SIGKILL:
        assert processes.marked(mark) == []
    finished = stage(command=python("pass"))
    with pytest.raises(ConfigError, match="was made from something else: command"):
        finished.run()
    assert processes.marked(mark) == []


def test_two_at_once_are_refused(here):
    first = stage(command=python("import time; open('out', 'w').write('x'); time.sleep(600)"))
    with processes_running(first), pytest.raises(ConfigError, match="is being run already"):
        stage("other", target="other").run()


def test_a_run_that_is_a_file_is_named(here):
    Path("run").touch()
    with pytest.raises(ConfigError, match=r"run: cannot be written \(Not a directory\)"):
        stage().run()


class processes_running:
    def __init__(self, one: Stage):
        words = [sys.executable, "-m", "longvt_plugins.cli.main", "stage", "--name", one.name, "--folder", "run"]
        self.command = [*words, "--inputs", *one.inputs, "--outputs", *one.outputs, "--", *one.command]

    def __enter__(self):
        self.running = subprocess.Popen(self.command, env={**os.environ, "PYTHONPATH": str(ROOT)})
        while not Path("out").exists():
            assert self.running.poll() is None
            time.sleep(0.05)

    def __exit__(self, *_):
        self.running.terminate()
        self.running.wait(timeout=60)
