"""artifacts/train/GENERATOR and its scores -> artifacts/export/GENERATOR."""

import sys

from rockbank.steps.export import export
from rockbank.steps.layout import errors_told

if __name__ == "__main__":
    with errors_told():
        export(sys.argv[1])
