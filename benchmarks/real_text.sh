#!/usr/bin/env bash
# The paper's pipeline on real text, at a size for two CPU cores: two generators trained from nothing, policies with a
# frozen encoder trained against one of them, and evaluated with both and on other prompts. Interrupted, the same command goes on.
#
#   benchmarks/real_text.sh T0_SHORT ALPACA_PLUS ENCODER [folder for the results, default runs/real-text] [folder to publish to]
#
# T0_SHORT and ALPACA_PLUS are folders of prompts, ENCODER the folder of a text encoder with its tokenizer, such as MiniLM. What is
# published holds figures alone, no text. Steps, episodes and prompts per split can be set in the environment.
set -euo pipefail

if (($# < 3 || $# > 5)); then
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
fi
t0=$(realpath "$1") alpaca=$(realpath "$2") encoder=$(realpath "$3")
out=$(realpath -m "${4:-runs/real-text}")
publish=${5:+$(realpath -m "$5")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
: "${GPT2_STEPS:=5000}" "${T5_STEPS:=4400}" "${EPISODES:=49152}" "${LIMIT:=500}"
export OMP_NUM_THREADS=1
set -m  # each job is a process group, so that what it starts ends with it if another fails
trap 'for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done' EXIT

benchmarks() { "$python" -m benchmarks "$@"; }

both() {  # wait for two jobs, no longer than until one fails
    wait -n "$@"
    for job in "$@"; do wait "$job"; done
}

tune() {  # config, steps
    benchmarks finetune --from-config "$1" --data "$t0" --steps "$2" --out "$out/$1"
}

train() {  # seed
    "$python" -m agents train scst --config scst-minilm --seed "$1" --loggers jsonl --out "$out/scst-$1" \
        --set agent.encoder="$encoder" task.tokenizer="$encoder" task.dataset="$t0" \
        task.generator="$out/gpt2-mini/model" run.episodes="$EPISODES"
}

# Policies were trained against the causal generator, whichever answers here. Units are ranked by the causal generator,
# and for comparison by the model of micro's prompts.
evaluate() {  # suite, prompts, generator, name
    local ranker=self_information
    [[ $3 = gpt2-mini ]] || ranker=self_information:model=$out/gpt2-mini/model
    local agents=(random keep_all truncation stopwords "$ranker" self_information:model=micro-prompts scst)
    benchmarks run --suite "$1" --dataset "$2" --generator "$out/$3/model" --agents "${agents[@]}" --seeds 2 \
        --policies "$out/scst-0" "$out/scst-1" --limit "$LIMIT" --out "$out/$4"
    benchmarks dropped "$out/$4"
    benchmarks compare "$out/$4" >/dev/null
}

tune gpt2-mini "$GPT2_STEPS" & first=$!
tune t5-mini "$T5_STEPS" & second=$!
both "$first" "$second"

train 0 & first=$!
train 1 & second=$!
both "$first" "$second"

evaluate t0-short "$t0" gpt2-mini t0-causal & first=$!
(evaluate t0-short "$t0" t5-mini t0-seq2seq; evaluate alpaca-plus "$alpaca" gpt2-mini alpaca-causal) & second=$!
both "$first" "$second"
folders=("$out"/{t0-causal,t0-seq2seq,alpaca-causal})
benchmarks report "${folders[@]}" --out "$out/report"

[[ -n $publish ]] || exit 0
copy_figures() {  # folder below the results, files: without this machine's paths
    local folder=$1 && shift
    mkdir -p "$publish/$folder"
    for file in "$@"; do
        sed "s|$out/||g; s|$t0|T0_SHORT|g; s|$alpaca|ALPACA_PLUS|g; s|$encoder|ENCODER|g" \
            "$out/$folder/$file" > "$publish/$folder/$(basename "$file")"
    done
}
for generator in gpt2-mini t5-mini; do copy_figures "$generator" training.json evaluation.json; done
for policy in scst-0 scst-1; do
    copy_figures "$policy" config.yaml metrics.jsonl
    sed -i '/"kind": "evaluation"/!d' "$publish/$policy/metrics.jsonl"
done
for folder in "${folders[@]}"; do
    folder=$(basename "$folder")
    copy_figures "$folder" leaderboard.md details.md summary.json settings.json provenance.json analyses/compare.md
    # All but these two tables hold words of the prompts, or names of their templates.
    awk 'BEGIN { kept = 1 } /^####/ { kept = /by (word class|position)/ } kept' \
        "$out/$folder/analyses/dropped.md" > "$publish/$folder/dropped.md"
done
