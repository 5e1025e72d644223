"""data/ -> artifacts/data/shale."""

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with errors_told():
        data.prepare(load_params().prepare)
