"""artifacts/gate/FAMILY -> versions of the registered model FAMILY, and artifacts/registered/FAMILY.json."""

import sys

from rockbank.steps.layout import errors_told
from rockbank.steps.register import register

if __name__ == "__main__":
    with errors_told():
        register(sys.argv[1])
