#!/usr/bin/env bash
# The standings: all agents on both micro suites, the analyses, and the page in benchmarks/leaderboard.
# Interrupted, the same command goes on. Every core gets a process of one thread.
#
#   benchmarks/standings.sh [folder for the results, default runs/standings] [folder for the page]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-runs/standings}
page=${2:-benchmarks/leaderboard}
python=${PYTHON:-.venv/bin/python}
suites=(micro micro-seq2seq)
# Micro's generators know answers alone, so units are ranked by a model of micro's prompts.
rankers=(self_information:model=micro-prompts perplexity:model=micro-prompts)
agents=(random keep_all truncation stopwords "${rankers[@]}" ppo scst search)
shards=$(nproc)
export OMP_NUM_THREADS=1
set -m  # each job is a process group, so that what it starts ends with it if another fails
trap 'for job in $(jobs -p); do kill -- "-$job" 2>/dev/null || true; done' EXIT

benchmarks() { "$python" -m benchmarks "$@"; }

run_shards() {  # suite: all its shards at once, then one folder
    local suite=$1 parts=() processes=()
    for shard in $(seq "$shards"); do
        parts+=("$out/shards/$suite-$shard-of-$shards")
        benchmarks run --suite "$suite" --agents "${agents[@]}" \
            --shard "$shard/$shards" --out "${parts[-1]}" &
        processes+=($!)
    done
    for process in "${processes[@]}"; do wait "$process"; done
    benchmarks merge "${parts[@]}" --out "$out/$suite"
}

run_shards micro
# One process beside the shards of the other suite.
benchmarks rates "$out/micro" --rates 0.1 0.3 0.5 0.7 0.9 \
    --agents random truncation "${rankers[@]}" ppo scst &
rates=$!
run_shards micro-seq2seq
wait "$rates"
folders=("${suites[@]/#/$out/}")
benchmarks transfer "${folders[@]}" --agents scst --out "$out/transfer" &
transfer=$!
for folder in "${folders[@]}"; do
    benchmarks dropped "$folder"
    benchmarks compare "$folder" >/dev/null  # long; it stands in analyses/
    benchmarks timing "$folder"
done
wait "$transfer"
mkdir -p "$out/micro/analyses" && cp "$out"/transfer/analyses/transfer.* "$out/micro/analyses/"  # shown with the first
benchmarks report "${folders[@]}" --out "$page"
# What the page was made of, as far as it is small; records and trained agents come out of this command again.
for suite in "${suites[@]}"; do
    mkdir -p "$page/$suite"
    cp "$out/$suite"/{settings,provenance,summary}.json "$out/$suite"/analyses/* "$page/$suite/"
done
