"""artifacts/data/FAMILY -> artifacts/check/FAMILY, or a stop."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with report_user_errors():
        family = sys.argv[1]
        data.check(family, load_params().check[family])
