"""A client of the sampling service: generated rock over HTTP, with neither torch nor MLflow on this machine.

    with Client("http://127.0.0.1:8000") as client:
        samples = client.generate("shale", n=16, seed=7)

`AsyncClient` has the same methods, awaited.
"""

import warnings
from typing import Any

from rockbank.client.asynchronous import AsyncClient
from rockbank.client.blocking import Client
from rockbank.client.errors import ClientError, Unreachable
from rockbank.client.jobs import Job
from rockbank.client.retry import RetryPolicy
from rockbank.client.samples import Origin, Samples

__all__ = ["AsyncClient", "Client", "ClientError", "Job", "Origin", "RetryPolicy", "Samples", "Unreachable"]


def __getattr__(name: str) -> Any:
    """The old name of RetryPolicy, for one version."""
    if name == "Patience":
        warnings.warn("Patience is now RetryPolicy; 0.2 has the new name alone", DeprecationWarning, stacklevel=2)
        return RetryPolicy
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
