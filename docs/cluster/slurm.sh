#!/usr/bin/env bash
# A suite on several nodes of a Slurm cluster, by Ray. The options are those of `python -m benchmark run`:
#
#     sbatch --nodes 4 docs/cluster/slurm.sh --protocol ald-mnist --seeds 0 1 2 3 4
#
# Submit it from a folder that all nodes share and that holds .venv. A job that was requeued, or cut off by its time
# limit and submitted again, goes on where it was.

#SBATCH --job-name=latentbench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --no-kill
#SBATCH --open-mode=append
# Nodes without GPUs: delete the line about them. A lost node does not end the job (no-kill).

set -euo pipefail

# A node's own environment counts, so all this comes before `ray start`. srun hands it on.
export PATH="$PWD/.venv/bin:$PATH"
export LATENTBENCH_DATA="${LATENTBENCH_DATA:-$PWD/data}"
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$PWD/cache}"
export RAY_USAGE_STATS_ENABLED="${RAY_USAGE_STATS_ENABLED:-0}"
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')  # whoever has none cannot run code here
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
mkdir -p "$LATENTBENCH_DATA" "$XDG_CACHE_HOME"

cpus=$SLURM_CPUS_ON_NODE
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=${HEAD_IP:-$(hostname -I | cut -d ' ' -f 1)} # this script runs on the first node; set HEAD_IP for another network
port=$((20000 + SLURM_JOB_ID % 10000))               # of this job alone
address=$head_ip:$port

steps=()
stop() {
    kill "${steps[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT

# start NODE OPTION...: Ray on a node, as a job step of its own, so that losing a node ends that step alone.
start() {
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --nodelist="$node" \
        ray start --block --num-cpus="$cpus" "$@" &
    steps+=($!)
}

# wait_for WHAT COMMAND...: until the command succeeds; the job ends after five minutes, or where a step has ended.
wait_for() {
    local what=$1 deadline=$((SECONDS + 300)) step
    shift
    until "$@" 2>/dev/null; do
        for step in "${steps[@]}"; do
            kill -0 "$step" 2>/dev/null || { echo "a node's ray start has ended before $what" >&2; exit 1; }
        done
        ((SECONDS < deadline)) || { echo "waited for $what in vain" >&2; exit 1; }
        sleep 1
    done
}

head_answers() { (exec 3<>"/dev/tcp/$head_ip/$port"); }

all_nodes_are_there() {
    python - "$address" "${#nodes[@]}" <<'PYTHON'
import sys

import ray

ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
sys.exit(sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]))
PYTHON
}

start "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" --include-dashboard=false
wait_for "the head at $address" head_answers
for node in "${nodes[@]:1}"; do
    start "$node" --address="$address"
done
wait_for "all ${#nodes[@]} nodes" all_nodes_are_there

python -m benchmark run --executor ray --address "$address" --results "$PWD/results" "$@"
