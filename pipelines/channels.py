"""The law of the channels -> artifacts/data/channels."""

from rockbank.core.terminal import report_user_errors
from rockbank.params import load_params
from rockbank.stages import data

if __name__ == "__main__":
    with report_user_errors():
        data.prepare_channels(load_params().channels)
