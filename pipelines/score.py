"""artifacts/train/GENERATOR -> reports/scores/GENERATOR.json and artifacts/score/GENERATOR."""

import sys

from rockbank.params import load_params
from rockbank.steps.score import score

if __name__ == "__main__":
    score(sys.argv[1], load_params().score)
