"""reports/scores -> reports/table2.md."""

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages.score import table2

if __name__ == "__main__":
    with errors_told():
        table2(load_params().all_generators)
