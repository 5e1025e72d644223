"""Where tasks run: processes of this machine, a Ray cluster, or jobs of Slurm; with the same results."""
