"""artifacts/train/GENERATOR and its scores -> artifacts/export/GENERATOR."""

import sys

from rockbank.steps.export import export

if __name__ == "__main__":
    export(sys.argv[1])
