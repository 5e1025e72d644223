"""reports/scores -> reports/table2.md."""

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages.score import table2

if __name__ == "__main__":
    with report_user_errors():
        table2(load_params().all_generators)
