"""The law of the channels -> artifacts/data/channels."""

from rockbank.core.terminal import errors_told
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with errors_told():
        data.prepare_channels(load_params().channels)
