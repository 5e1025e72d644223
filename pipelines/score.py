"""artifacts/train/GENERATOR -> reports/scores/GENERATOR.json and artifacts/score/GENERATOR."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.score import score

if __name__ == "__main__":
    with report_user_errors():
        score(sys.argv[1], load_params().score)
