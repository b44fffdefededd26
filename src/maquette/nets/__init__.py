"""Networks: weights and nothing else."""
