"""artifacts/data/FAMILY -> artifacts/train/GENERATOR."""

import sys

from rockbank.params import load_params
from rockbank.steps.train import train

if __name__ == "__main__":
    generator, params = sys.argv[1], load_params()
    train(generator, params.generator(generator), params.score)
