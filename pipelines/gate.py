"""artifacts/export/GENERATOR -> artifacts/gate/FAMILY/GENERATOR.json."""

import sys

from rockbank.params import load_params
from rockbank.steps.judge import gate

if __name__ == "__main__":
    gate(sys.argv[1], load_params().gate)
