"""artifacts/data/FAMILY -> artifacts/embed/FAMILY."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.embed import embed

if __name__ == "__main__":
    with report_user_errors():
        embed(sys.argv[1], load_params().score)
