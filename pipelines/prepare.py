"""data/ -> artifacts/data/shale."""

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with report_user_errors():
        data.prepare(load_params().prepare)
