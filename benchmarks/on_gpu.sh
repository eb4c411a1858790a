#!/usr/bin/env bash
# Everything worth measuring on one GPU, within ten minutes; without a GPU the same, smaller.
#
#   benchmarks/on_gpu.sh OUTDIR [DATA]
#
# DATA is a folder of prompts with answers, of the splits train and validation_seen; without it, micro's prompts. OUTDIR is
# made; its on_gpu.json tells device, versions, commit and all figures. Ends with 1 if a part failed or was stopped by its
# time limit, and names it; the other parts are done all the same. Sizes and times, in seconds, can be set in the
# environment: FINETUNE_SECONDS=60 benchmarks/on_gpu.sh runs/gpu
set -u -o pipefail

if (($# < 1 || $# > 2)); then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ -x $here/.venv/bin/python ]] && PYTHON=$here/.venv/bin/python
fi
OUT=$(realpath -m "$1")
DATA=${2:-micro}
: "${ENCODER:=}" # text encoder of the policy, id or folder, which stays frozen; none: a small new one
[[ -e $DATA ]] && DATA=$(realpath "$DATA")
[[ -e $ENCODER ]] && ENCODER=$(realpath "$ENCODER")
if [[ -e $OUT ]]; then
    echo "error: $OUT exists; give a new folder" >&2
    exit 2
fi
cd "$here" || exit 2

if "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    : "${MODELS:=micro gpt2-xl flan-t5-xl llama-7b}" "${PROMPTS:=128}" "${THROUGHPUT_SECONDS:=240}"
    : "${TUNED:=gpt2-small}" "${FINETUNE_SECONDS:=120}" "${ANSWERED:=500}"
    : "${TRAINING_SECONDS:=90}" "${EVALUATED:=256}"
else
    : "${MODELS:=micro}" "${PROMPTS:=64}" "${THROUGHPUT_SECONDS:=180}"
    : "${TUNED:=gpt2-mini}" "${FINETUNE_SECONDS:=120}" "${ANSWERED:=50}"
    : "${TRAINING_SECONDS:=60}" "${EVALUATED:=32}"
fi
: "${SLACK_SECONDS:=50}" # to load, evaluate and store, for each of the last two parts

wrong=()
part() { # NAME LIMIT COMMAND...: run a part, report it, remember if it went wrong
    local name=$1 limit=$2 began=$SECONDS status
    shift 2
    printf '\n=== %s: at most %s s\n' "$name" "$limit"
    timeout --signal=INT --kill-after=15 "$limit" "$@" 2>&1 | tee "$OUT/$name.log"
    status=${PIPESTATUS[0]}
    "$PYTHON" -m benchmarks.speed.on_gpu "$OUT" "$name" "$status" $((SECONDS - began)) || status=1
    ((status == 0)) || wrong+=("$name (exit status $status)")
}
minutes() { awk -v s="$1" 'BEGIN { print s / 60 }'; }

mkdir -p "$OUT"
part throughput "$THROUGHPUT_SECONDS" "$PYTHON" -m benchmarks throughput --models $MODELS --prompts "$PROMPTS" \
    --masks random-15 --repeats 2 --out "$OUT/throughput.json"

part finetune $((FINETUNE_SECONDS + SLACK_SECONDS)) "$PYTHON" -m benchmarks finetune --from-config "$TUNED" \
    --data "$DATA" --minutes "$(minutes "$FINETUNE_SECONDS")" --split validation_seen --evaluate-limit "$ANSWERED" \
    --out "$OUT/finetune"

generator=micro
[[ -d $OUT/finetune/model ]] && generator=$OUT/finetune/model
policy=(--config scst-micro)
[[ -n $ENCODER ]] && policy=(--config scst-minilm --set "agent.encoder=$ENCODER" "task.tokenizer=$ENCODER")
part training $((TRAINING_SECONDS + SLACK_SECONDS)) "$PYTHON" -m agents train scst "${policy[@]}" --loggers jsonl \
    --set "task.dataset=$DATA" "task.generator=$generator" "run.minutes=$(minutes "$TRAINING_SECONDS")" \
    run.evaluate_every=1000000 "run.evaluate_limit=$EVALUATED" --out "$OUT/training"

printf '\nWritten to %s/on_gpu.json\n' "$OUT"
if ((${#wrong[@]})); then
    printf 'error: failed or stopped: %s\n' "${wrong[@]}" >&2
    exit 1
fi
