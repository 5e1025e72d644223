"""artifacts/data/FAMILY -> artifacts/check/FAMILY, or a stop."""

import sys

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with errors_told():
        family = sys.argv[1]
        data.check(family, load_params().check[family])
