#!/usr/bin/env bash
# The main job on embedded defaults: footage -> a checkpoint that calls the tool -> GRPO on stock verl -> a table.
# Needs the environment of constraints/install.sh (`make demo` installs it). Uses the GPU if there is one.
#   bash runs/demo.sh [FOLDER] [Hydra overrides for longvt_demo]   what an earlier demo left in FOLDER is removed
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-runs/demo}
shift || true
python=.venv/bin/python
started=$SECONDS
say() { printf '\n[demo %4ds] %s\n' $((SECONDS - started)) "$*"; }

if ! nvidia-smi -L > /dev/null 2>&1; then export VERL_PLATFORM=${VERL_PLATFORM:-cpu}; fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false RAY_USAGE_STATS_ENABLED=0 PYTHONWARNINGS=ignore

marker=$folder/.longvt_demo
# Versions before the marker left these two.
if [ ! -e "$marker" ] && ! { [ -f "$folder/teach.log" ] && [ -f "$folder/data/train.parquet" ]; } \
  && [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
  echo "demo.sh: $folder is there, and no demo made it. Name another folder, or remove it." >&2
  exit 2
fi
rm -rf "$folder"
mkdir -p "$folder"
: > "$marker"

say "1/4 footage and questions (next: teach a tiny checkpoint, about 2 minutes)"
"$python" -m data_prep.demo_footage "$folder/data"

say "2/4 teach a tiny Qwen2.5-VL to call crop_video (next: GRPO, about 2 minutes)"
"$python" -m longvt_plugins.testing.teach longvt_demo "longvt.run=$folder" --steps 600 --spread 0.08 \
  2> "$folder/teach.log" || { tail -n 20 "$folder/teach.log" >&2; exit 1; }

say "3/4 GRPO with the crop tool: unmodified python -m verl.trainer.main_ppo (log: $folder/main_ppo.log)"
VERL_FILE_LOGGER_PATH="$folder/metrics.jsonl" .venv/bin/longvt watch \
  --folder "$folder/train" --log "$folder/main_ppo.log" --idle 300 -- \
  "$python" -m verl.trainer.main_ppo --config-name longvt_demo "longvt.run=$folder" "$@"

say "4/4 summary"
.venv/bin/longvt summary "$folder/train"
cat <<TEXT

Where things are:
  every trajectory   $folder/train/trajectories/{val,train}/step_*.jsonl
  metrics            $folder/metrics.jsonl
  checkpoint         $folder/train/global_step_*
  full log           $folder/main_ppo.log
TEXT
say "done"
