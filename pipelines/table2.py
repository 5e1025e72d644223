"""reports/scores -> reports/table2.md."""

from rockbank.params import load_params
from rockbank.steps.score import table2

if __name__ == "__main__":
    table2(load_params().generators)
