"""artifacts/data/FAMILY -> artifacts/embed/FAMILY."""

import sys

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages.embed import embed

if __name__ == "__main__":
    with errors_told():
        embed(sys.argv[1], load_params().score)
