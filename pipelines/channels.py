"""The law of the channels -> artifacts/data/channels."""

from rockbank.params import load_params
from rockbank.steps import data
from rockbank.steps.layout import errors_told

if __name__ == "__main__":
    with errors_told():
        data.prepare_channels(load_params().channels)
