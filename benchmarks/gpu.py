"""GRPO on one GPU: the demo for 20 steps, killed and resumed, and against the path that crop_video replaces.

    python benchmarks/gpu.py runs/gpu prepare plugin mcp kill resume fp32 [--steps 20]
    python benchmarks/gpu.py runs/gpu teach longvt-compat longvt-compat-fp32 native native-fp32 verify report

Phases run in the order given; each starts training once at most and ends within nine minutes, so that they fit hosts
with short leases. Nothing else is on the GPU meanwhile: verl's weight sync uses one socket path per host.

* prepare   footage, and a checkpoint that calls the tool
* plugin    ``longvt_demo``, with validation and checkpoint half-way and at the end
* mcp       the same with ``mcp_crop_tool``: each crop through an MCP server on stdio, frames as PNG
* kill      the same as plugin, ended with SIGKILL, all processes at once, after seven tenths of the steps
* resume    what ``kill`` left, from its checkpoint to the end
* fp32      the same as plugin for three steps, engine and actor in float32
* teach     footage, and a checkpoint that calls the tool in each of the other media profiles
* native, longvt-compat, each with -fp32: the same as plugin, or fp32, for three steps, from ``teach``'s checkpoint
* verify    ``longvt verify`` for every media profile in bf16 and fp32, on the checkpoint before and after training
            (``plugin``), and on a random Qwen3-VL
* report    ``results/gpu.md``, ``results/gpu_probabilities.md`` from what the phases left (``gpu_report.py``)
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import gpu_report

from longvt_plugins.cli.watch import Watch
from longvt_plugins.launch.log import explain
from longvt_plugins.launch.processes import descendants
from longvt_plugins.tokens.profiles import PROFILES
from longvt_plugins.trainer import progress

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
TEACH = "longvt_plugins.testing.teach"
KILL_PHASE = "policy update"
IDLE_S = 300
VERIFY_AT_ONCE = 6
VERIFIED = {"before": tuple(PROFILES), "after": tuple(PROFILES), "qwen3": ("frames-time", "native")}
"""Media profiles proven on each checkpoint."""
PR_SET_CHILD_SUBREAPER = 36
FLOAT32 = (
    "actor_rollout_ref.actor.fsdp_config.dtype=float32",
    "actor_rollout_ref.actor.fsdp_config.model_dtype=fp32",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype: fp32, reduce_dtype: fp32, buffer_dtype: fp32}",
    "actor_rollout_ref.rollout.dtype=float32",
    # Else vLLM's Triton attention multiplies in TF32.
    "+ray_kwargs.ray_init.runtime_env.env_vars.TRITON_F32_DEFAULT=ieee",
)
SHORT = (
    *("trainer.total_training_steps=3", "trainer.save_freq=-1", "trainer.test_freq=-1"),
    "trainer.val_before_train=false",
)


@dataclass(frozen=True)
class Experiment:
    folder: Path
    steps: int

    def prepare(self) -> None:
        self._footage()
        self._teach()

    def teach(self) -> None:
        self._footage()
        for profile in gpu_report.OTHER_PROFILES:
            self._teach(*self._profile(profile))

    def _footage(self) -> None:
        subprocess.run([sys.executable, "-m", "data_prep.demo_footage", f"{self.folder}/data"], cwd=ROOT, check=True)

    def _teach(self, *overrides: str) -> None:
        # Ten million parameters: large enough that bf16 rounds its probabilities as it does a real model's.
        size = ["--hidden", "512", "--layers", "4", "--steps", "600", "--rate", "7e-4"]
        command = [TEACH, "longvt_demo", f"longvt.run={self.folder}", *overrides, *size]
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)

    def _profile(self, profile: str) -> tuple[str, str]:
        return f"actor_rollout_ref.model.path={self.folder}/model-{profile}", f"+data.longvt.profile={profile}"

    def plugin(self) -> None:
        self._train("plugin", fresh(self.folder / "plugin"))

    def mcp(self) -> None:
        tool = f"actor_rollout_ref.rollout.multi_turn.tool_config_path={BENCHMARKS}/mcp_crop_tool.yaml"
        self._train("mcp", fresh(self.folder / "mcp"), tool)

    def kill(self) -> None:
        """Ends the run, Ray and vLLM included, as a lost machine would: no process gets to say good-bye."""
        run_folder, started = fresh(self.folder / "killed"), time.time()
        # Processes that outlive their parents come to this one, so that none escapes.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        log = self.folder / "kill.log"
        with log.open("wb") as output:
            command = self._command("kill", run_folder)
            run = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        while (at := self._ripe(run_folder)) is None:
            if run.poll() is not None:
                sys.exit(f"the run ended by itself:\n{explain(log)}")
            time.sleep(0.02)
        killed = kill_descendants()
        shutil.copytree(run_folder / "trajectories", fresh(self.folder / "killed_trajectories"), dirs_exist_ok=True)
        self._note("kill", started, killed_in=at, processes=killed, saved=saved(run_folder))

    def _ripe(self, run_folder: Path) -> tuple[int, str] | None:
        at = progress.read(run_folder / progress.FILE_NAME) or {"step": 0, "phase": ""}
        reached = at["step"] >= self.steps * 7 // 10 and at["phase"] == KILL_PHASE
        return (at["step"], at["phase"]) if reached else None

    def resume(self) -> None:
        self._train("resume", self.folder / "killed", "trainer.resume_mode=auto")

    def fp32(self) -> None:
        self._train("fp32", fresh(self.folder / "fp32"), *FLOAT32, *SHORT)

    def in_profile(self, run: str) -> None:
        dtype = FLOAT32 if run.endswith(gpu_report.FP32) else ()
        chosen = self._profile(run.removesuffix(gpu_report.FP32))
        self._train(run, fresh(self.folder / run), *chosen, *dtype, *SHORT)

    def verify(self) -> None:
        """Several at once: each is a process with a small engine, and most of its time is start-up."""
        started = time.time()
        trained, qwen3 = self.folder / "trained", self.folder / "qwen3"
        last = self.folder / "plugin" / saved(self.folder / "plugin")[-1] / "actor"
        merge = [
            "verl.model_merger",
            "merge",
            "--backend",
            "fsdp",
            "--local_dir",
            str(last),
            "--target_dir",
            str(trained),
        ]
        subprocess.run([sys.executable, "-m", *merge], check=True)
        from longvt_plugins.testing.tiny_qwen3_vl import make_tiny_qwen3_vl

        make_tiny_qwen3_vl(qwen3, [TEACH, "Question 1: which number is shown?"], sharpness=4.0)
        models = {"before": self.folder / "model", "after": trained, "qwen3": qwen3}
        cases = [(n, p, d) for n, profiles in VERIFIED.items() for p in profiles for d in ("bfloat16", "float32")]
        with ThreadPoolExecutor(VERIFY_AT_ONCE) as pool:
            reports = list(pool.map(lambda case: self._verify(models[case[0]], *case), cases))
        (self.folder / "verify.jsonl").write_text("".join(json.dumps(report) + "\n" for report in reports))
        self._note("verify", started, exit_code=int(not all(report["ok"] for report in reports)), saved=[])

    def _verify(self, model: Path, name: str, profile: str, dtype: str) -> dict:
        command = [sys.executable, "-m", "longvt_plugins.cli.main", "verify", str(model), "--json"]
        command += ["--profile", profile, "--dtype", dtype]
        with (self.folder / f"verify_{name}_{profile}_{dtype}.log").open("w") as log:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True)
        _, brace, text = done.stdout.partition('{\n  "ok"')
        report = json.loads(brace + text) if brace else {"ok": False, "findings": []}
        print(f"verify {name} {profile} {dtype}: {'ok' if report['ok'] else 'FAIL'}", flush=True)
        return {"name": name, "profile": profile, "dtype": dtype, **report}

    def report(self) -> None:
        gpu_report.write(self.folder, BENCHMARKS / "results", self.steps)

    def _train(self, phase: str, run_folder: Path, *overrides: str) -> None:
        started, log = time.time(), self.folder / f"{phase}.log"
        code, message = Watch(self._command(phase, run_folder, *overrides), run_folder, log, IDLE_S).run()
        print(f"{phase}: {message}", flush=True)
        self._note(phase, started, exit_code=code, saved=saved(run_folder))
        if code:
            sys.exit(code)

    def _command(self, phase: str, run_folder: Path, *overrides: str) -> list[str]:
        os.environ["VERL_FILE_LOGGER_PATH"] = str(self.folder / f"{phase}.metrics.jsonl")
        common = [
            f"longvt.run={self.folder}",
            f"trainer.default_local_dir={run_folder}",
            f"trainer.total_training_steps={self.steps}",
            f"trainer.save_freq={self.steps // 2}",
            f"trainer.test_freq={self.steps // 2}",
            "actor_rollout_ref.actor.optim.lr=2.0e-5",
        ]
        return [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "longvt_demo", *common, *overrides]

    def _note(self, phase: str, started: float, **facts: object) -> None:
        note = {"machine": gpu_report.machine(), "command": shlex.join(sys.argv), "seconds": time.time() - started}
        (self.folder / f"{phase}.json").write_text(json.dumps(note | facts))


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def saved(run_folder: Path) -> list[str]:
    return sorted((path.name for path in run_folder.glob("global_step_*")), key=lambda name: int(name.split("_")[2]))


def kill_descendants() -> int:
    killed: set[int] = set()
    while left := descendants(os.getpid()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.05)
        while _reaped():
            pass
    return len(killed)


def _reaped() -> int:
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


PHASES = (
    *("prepare", "plugin", "mcp", "kill", "resume", "fp32", "teach"),
    *gpu_report.PROFILE_RUNS,
    *("verify", "report"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("phases", nargs="+", choices=PHASES, metavar="phase", help=" ".join(PHASES))
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONWARNINGS": "ignore",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(BENCHMARKS), os.environ.get("PYTHONPATH")])),
    }
    experiment = Experiment(args.folder.absolute(), args.steps)
    experiment.folder.mkdir(parents=True, exist_ok=True)
    for phase in args.phases:
        print(f"## {phase}", flush=True)
        if phase in gpu_report.PROFILE_RUNS:
            experiment.in_profile(phase)
        else:
            getattr(experiment, phase)()


if __name__ == "__main__":
    main()
