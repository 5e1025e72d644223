"""artifacts/data/FAMILY -> artifacts/embed/FAMILY."""

import sys

from rockbank.params import load_params
from rockbank.steps.embed import embed
from rockbank.steps.layout import errors_told

if __name__ == "__main__":
    with errors_told():
        embed(sys.argv[1], load_params().score)
