"""artifacts/gate/FAMILY -> versions of the registered model FAMILY, and artifacts/registered/FAMILY.json."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.register import register

if __name__ == "__main__":
    with report_user_errors():
        family = sys.argv[1]
        register(family, load_params().of_family(family))
