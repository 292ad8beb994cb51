#!/usr/bin/env bash
# Questions to the checkpoint that `longvt serve` serves, in three modes: with crops, without the tool, with black crops.
#   longvt serve --checkpoint MODEL --name NAME ... -- bash runs/evaluate.sh NAME ROWS MEDIA OPTIONS TEMPLATE FOLDER
set -euo pipefail
name=$1 rows=$2 media=$3 options=$4 template=$5 folder=$6
for mode in crops no-tool blank; do
  longvt evaluate "$rows" --root "$media" --url "$LONGVT_SERVER" --model "$name" --mode "$mode" \
    --options "$options" --template "$template" -o "$folder/$mode"
done
