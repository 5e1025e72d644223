"""artifacts/data/FAMILY -> artifacts/check/FAMILY, or a stop."""

import sys

from rockbank.params import load_params
from rockbank.steps import data
from rockbank.steps.layout import errors_told

if __name__ == "__main__":
    with errors_told():
        family = sys.argv[1]
        data.check(family, load_params().check[family])
