#!/usr/bin/env bash
# What     a recipe on several machines, one Ray cluster for one run, started by ssh from here.
# Hardware the machines in LONGVT_HOSTS; trainer.nnodes is their number. This folder is on all of them (shared storage).
# Run      LONGVT_HOSTS="gpu0 gpu1" bash recipes/launch/ray.sh longvt_7b_rl_multinode [OVERRIDES]
#          Settings: LONGVT_PORT (6379), LONGVT_JUDGE, LONGVT_CLIP_STORE (a local disk), LONGVT_BIN (.venv/bin),
#          LONGVT_HEAD (the first host, as the others reach it: needed if it is an alias of ssh alone).
#          Without ssh, run on each machine, 0 being the first host:
#          LONGVT_RANK=0 LONGVT_HEAD=gpu0 longvt launch longvt_7b_rl_multinode trainer.nnodes=2
# Healthy  "ok   cluster: node ..." with every host, then the phases of the run; "the run has finished".
# Teardown by itself, on every way out, Ctrl-C too: the hang-up of ssh ends what runs on a host.
set -euo pipefail
read -ra hosts <<< "${LONGVT_HOSTS:?name the machines: LONGVT_HOSTS=\"gpu0 gpu1\"}"
recipe=${1:-longvt_7b_rl_multinode}
[ $# -eq 0 ] || shift

settings="LONGVT_HEAD=$(printf %q "${LONGVT_HEAD:-${hosts[0]##*@}}")"
for name in LONGVT_PORT LONGVT_JUDGE LONGVT_CLIP_STORE VERL_PLATFORM; do
  [ -z "${!name:-}" ] || settings+=" $name=$(printf %q "${!name}")"
done
command="${LONGVT_BIN:-.venv/bin}/longvt launch $(printf '%q ' "$recipe" "trainer.nnodes=${#hosts[@]}" "$@")"

sessions=()
trap 'kill "${sessions[@]}" 2> /dev/null || true; wait' EXIT
for rank in "${!hosts[@]}"; do
  ssh -tt "${hosts[$rank]}" "cd $(printf %q "$PWD") && exec env $settings LONGVT_RANK=$rank $command" < /dev/null &
  sessions+=($!)
done
wait "${sessions[0]}"
