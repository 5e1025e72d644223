"""artifacts/data/FAMILY -> artifacts/train/GENERATOR."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.train import train

if __name__ == "__main__":
    with report_user_errors():
        generator, params = sys.argv[1], load_params()
        train(generator, params.generator(generator), params.score)
