"""artifacts/train/GENERATOR and its scores -> artifacts/export/GENERATOR."""

import sys

from rockbank.core.terminal import errors_told
from rockbank.stages.export import export

if __name__ == "__main__":
    with errors_told():
        export(sys.argv[1])
