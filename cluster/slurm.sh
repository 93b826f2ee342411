#!/usr/bin/env bash
# One run on Slurm: a Ray cluster over the nodes of the allocation, for as long as the run lasts. From the project's
# root, after `make setup DEVICE=gpu` in a folder that all nodes mount:
#   sbatch --nodes=4 cluster/slurm.sh configs/cluster-7b-zero3.yaml run.storage=/shared/runs
# A job that is requeued, or submitted again, goes on with its run folder. Secrets (HF_TOKEN, OPENAI_API_KEY) are taken
# from the environment of `sbatch`.
#SBATCH --job-name=dsa-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --output=dsa-ray-%j.log
set -euo pipefail

(($# > 0)) || { echo "usage: sbatch cluster/slurm.sh CONFIG [key=value ...]" >&2; exit 2; }
root="${SLURM_SUBMIT_DIR:-$PWD}"
bin="$root/.venv/bin"
[[ -x $bin/ray ]] || { echo "$bin/ray is missing: make setup DEVICE=gpu" >&2; exit 2; }

# A token for this job alone, readable by its user alone; Ray answers nobody without it.
umask 077
secret="$(mktemp "$root/.ray-token.XXXXXXXX")"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$secret"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secret" VLLM_NO_USAGE_STATS=1

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_node="${nodes[0]}"
address="$(srun --nodes=1 --ntasks=1 --overlap -w "$head_node" hostname --ip-address | awk '{print $1}')"
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_ADDRESS="$address:$port"

steps=()
finish() {
    for step in "${steps[@]}"; do
        kill -TERM "$step" 2>/dev/null || true
    done
    wait || true
    rm -f "$secret"
}
trap finish EXIT

cpus="${SLURM_CPUS_ON_NODE:-1}"      # a step gets one CPU otherwise, and Ray believes it
srun --nodes=1 --ntasks=1 --overlap -c "$cpus" -w "$head_node" env -u RAY_ADDRESS "$bin/ray" start --head --block \
    --node-ip-address="$address" --port="$port" --dashboard-host=127.0.0.1 --disable-usage-stats \
    --resources='{"core": 1}' &
steps+=($!)
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --overlap -c "$cpus" -w "$node" env -u RAY_ADDRESS "$bin/ray" start --block \
        --address="$address:$port" --disable-usage-stats &
    steps+=($!)
done
until srun --nodes=1 --ntasks=1 --overlap -w "$head_node" "$bin/ray" status >/dev/null 2>&1; do
    kill -0 "${steps[0]}" 2>/dev/null || { echo "the head node's Ray did not start" >&2; exit 1; }
    sleep 2
done

# Slurm tells this shell when the time is nearly up; jobs/run.py takes it for Ctrl-C, and the run can be gone on with.
srun --nodes=1 --ntasks=1 --overlap -w "$head_node" "$bin/python" "$root/jobs/run.py" --auto-resume "$@" &
run=$!
trap 'kill -TERM "$run" 2>/dev/null || true' TERM
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do
    code=0
    wait "$run" || code=$?
done
echo "dsa-ray: exit code $code"
exit "$code"
