#!/usr/bin/env bash
# LongVT, whole: SFT -> RL -> RFT on the RL policy's own good rollouts -> each stage's checkpoint on held-out questions.
#   bash runs/pipeline.sh 7b   [RUN]   the 7B recipes; needs their data, a judge ($LONGVT_JUDGE) and 8 GPUs
#   bash runs/pipeline.sh demo [RUN]   the same on a tiny model and the needle task: 2 CPU cores (`make pipeline-demo`)
# Whatever stops it, the same command goes on: a stage that is complete is skipped, one that had begun resumes. A stage
# whose data, recipe or versions changed is refused with the reason; REDO=--redo makes it again.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
export TOKENIZERS_PARALLELISM=false RAY_USAGE_STATS_ENABLED=0 PYTHONWARNINGS=ignore WANDB_MODE=${WANDB_MODE:-offline}

case ${1:-} in
  7b)
    run=${2:-runs/longvt_7b} gpus=8 idle_s=1800 grounding=0.3
    sft_recipe=longvt_7b_sft rl_recipe=longvt_7b_rl rft_recipe=longvt_7b_rft
    start=Qwen/Qwen2.5-VL-7B-Instruct media=data/longvt/source
    rows=data/longvt/parquet/longvt_rl_selfqa_1k6.parquet held_out=data/longvt/parquet/longvt_rl_val_114.parquet
    sft_data=data/longvt/parquet sft_files="" tool=recipes/rl/tools/crop_video_7b.yaml
    options=recipes/evaluation/longvt_7b.yaml
    vllm="--max-model-len 53248 --gpu-memory-utilization 0.85"
    ;;
  demo)
    run=${2:-runs/pipeline_demo} gpus=1 idle_s=600 grounding=0.9
    sft_recipe=longvt_pipeline_demo_sft rl_recipe=longvt_pipeline_demo_rl rft_recipe=longvt_pipeline_demo_rft
    start=$run/start media=$run/data
    rows=$media/train.parquet held_out=$media/held_out.parquet
    sft_data=$run/chains.parquet sft_files="[{path:$run/chains.parquet,data_folder:$media}]" tool=$media/crop_video.yaml
    options=$media/evaluation.yaml
    vllm="--max-model-len 2048 --gpu-memory-utilization 0.2 --enforce-eager --skip-mm-profiling"
    export HF_HUB_OFFLINE=1
    if ! nvidia-smi -L > /dev/null 2>&1; then export VERL_PLATFORM=cpu; vllm+=" --dtype float32"; fi
    ;;
  *) sed -n '2,6s/^# //p' "$0"; exit 2 ;;
esac
# Hydra and the lists below read other characters as syntax.
if [[ $run == *[!A-Za-z0-9._/+@%:-]* ]]; then
  echo "pipeline.sh: RUN '$run' may hold letters, digits and . _ / + @ % : - alone. Choose another folder." >&2
  exit 2
fi
template=longvt_plugins/tokens/templates/qwen2_5_vl.jinja

# stage NAME INPUTS OUTPUTS [--show] -- COMMAND: see `longvt stage --help`.
stage() {
  local name=$1 inputs=$2 outputs=$3
  shift 3
  longvt stage --name "$name" --folder "$run" --inputs $inputs --outputs $outputs ${REDO:-} "$@"
}

# supervise NAME RECIPE MODEL FILES OVERRIDE...: lmms-engine from MODEL, which resumes by itself; then merge.
supervise() {
  local name=$1 recipe=$2 model=$3 files=$4
  shift 4
  stage "$name" "$files $([ -d "$model" ] && echo "$model")" "$run/$name" -- \
    torchrun --standalone --nproc_per_node "$gpus" -m lmms_engine.launch.cli --config-name "$recipe" \
    "model_config.load_from_pretrained_path=$model" "dataset_config.processor_config.processor_name=$model" \
    "dataset_config.extra_kwargs.longvt.bad_rows=$run/$name/bad_rows" "trainer_args.output_dir=$run/$name" \
    "hydra.run.dir=$run/$name/hydra" "$@"
  stage "${name}_model" "$run/$name" "$run/models/$name" -- longvt merge "$run/$name" -o "$run/models/$name"
}

# 1. Data. The 7B recipes' headers say where theirs comes from.
if [ "$1" = demo ]; then
  stage data "" "$media" -- python -m data_prep.needle "$media" --size demo
  stage chains "$media" "$run/chains.parquet $start" -- python -m data_prep.needle_chains "$run"
fi

# 2. SFT: the policy learns to think, to call crop_video, and to answer.
supervise sft "$sft_recipe" "$start" "$sft_data" ${sft_files:+"dataset_config.datasets=$sft_files"}

# 3. RL: GRPO on answer, grounding and format. `longvt watch` ends a run that stalls.
stage rl "$rows $tool $run/models/sft" "$run/rl" --show -- \
  env "VERL_FILE_LOGGER_PATH=$run/rl/metrics.jsonl" \
  longvt watch --folder "$run/rl" --log "$run/rl/main_ppo.log" --idle "$idle_s" -- \
  python -m verl.trainer.main_ppo --config-name "$rl_recipe" "longvt.run=$run/rl" "longvt.model=$run/models/sft" \
  "longvt.data=$(dirname "$rows")" "longvt.media=$media" "actor_rollout_ref.rollout.multi_turn.tool_config_path=$tool"
stage rl_model "$run/rl" "$run/models/rl" -- longvt merge "$run/rl" -o "$run/models/rl"

# 4. RFT: what the policy did well in RL, right, well formed and well grounded, taught to the RL checkpoint.
stage rft_data "$rows $tool $run/rl $run/models/sft" "$run/rft.parquet" -- \
  longvt data rollouts "$run/rl/trajectories" --rows "$rows" --tools "$tool" --root "$media" \
  --tokenizer "$run/models/sft" --grounding "$grounding" --per-question 8 -o "$run/rft.parquet"
supervise rft "$rft_recipe" "$run/models/rl" "$run/rft.parquet" \
  "dataset_config.datasets=[{path:$run/rft.parquet,data_folder:$media}]"

# 5. Evaluation: each checkpoint behind a real server, with crops, without the tool, and with black crops.
for name in sft rl rft; do
  stage "evaluate_$name" "$run/models/$name $held_out $options $tool $template" "$run/evaluation/$name" -- \
    longvt serve --checkpoint "$run/models/$name" --name "$name" --log "$run/evaluation/$name/server.log" \
    --vllm "$vllm --generation-config vllm --chat-template $template --chat-template-content-format openai" -- \
    bash runs/evaluate.sh "$name" "$held_out" "$media" "$options" "$template" "$run/evaluation/$name"
done

# 6. The table and the plot.
results=$(printf '%s ' "$run"/evaluation/{sft,rl,rft}/{crops,no-tool,blank})
stage report "$results $run/rl/trajectories" "$run/report" -- \
  longvt report $results --rl "$run/rl/trajectories" -o "$run/report"
cat "$run/report/table.md"
printf '\n%s\n' "table and plot: $run/report; models: $run/models; trajectories: $run/rl/trajectories; logs: $run/stages"
