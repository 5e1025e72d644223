"""artifacts/data/FAMILY -> artifacts/train/GENERATOR."""

import sys

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages.train import train

if __name__ == "__main__":
    with errors_told():
        generator, params = sys.argv[1], load_params()
        train(generator, params.generator(generator), params.score)
