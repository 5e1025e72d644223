"""A client of the sampling service: generated rock over HTTP, with neither torch nor MLflow on this machine.

    with Client("http://127.0.0.1:8000") as client:
        samples = client.generate("shale", n=16, seed=7)

`AsyncClient` has the same methods, awaited.
"""

from rockbank.client.asynchronous import AsyncClient
from rockbank.client.blocking import Client
from rockbank.client.errors import ClientError, Unreachable
from rockbank.client.patience import Patience
from rockbank.client.samples import Origin, Samples

__all__ = ["AsyncClient", "Client", "ClientError", "Origin", "Patience", "Samples", "Unreachable"]
