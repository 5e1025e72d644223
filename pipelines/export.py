"""artifacts/train/GENERATOR and its scores -> artifacts/export/GENERATOR."""

import sys

from rockbank.core.terminal import report_user_errors
from rockbank.stages.export import export

if __name__ == "__main__":
    with report_user_errors():
        export(sys.argv[1])
