#!/bin/bash
# Pre-train on two machines with four GPUs each, and go on by itself until the run is finished.
#
#     sbatch docs/slurm_pretrain.sh --recipe mamp_ntu60_xsub --store STORE --out RUN
#
# STORE and RUN must be the same folders on all machines. Everything behind the script's name goes to `marrow pretrain`.
#SBATCH --job-name=marrow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Two minutes before the time is over the processes get SIGTERM: they save, and end with status 130.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# One task per GPU; a task that fails ends the others.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 marrow pretrain "$@"
status=$?

# Interrupted, not finished and not failed: back into the queue, where the same command goes on.
if [ "$status" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
