"""artifacts/export/GENERATOR -> artifacts/gate/FAMILY/GENERATOR.json."""

import sys

from rockbank.params import load_params
from rockbank.steps.judge import gate
from rockbank.steps.layout import errors_told

if __name__ == "__main__":
    with errors_told():
        gate(sys.argv[1], load_params().gate)
