"""artifacts/export/GENERATOR -> artifacts/gate/FAMILY/GENERATOR.json; a challenger is held against the champion."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.judge import gate

if __name__ == "__main__":
    with report_user_errors():
        generator, params = sys.argv[1], load_params()
        challenger = params.challengers.get(generator)
        gate(generator, params.gate, against=None if challenger is None else challenger.family)
