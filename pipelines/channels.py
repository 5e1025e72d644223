"""The law of the channels -> artifacts/data/channels."""

from rockbank.params import load_params
from rockbank.steps import data

if __name__ == "__main__":
    data.prepare_channels(load_params().channels)
