"""data/ -> artifacts/data/shale."""

from rockbank.params import load_params
from rockbank.steps import data

if __name__ == "__main__":
    data.prepare(load_params().prepare)
