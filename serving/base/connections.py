"""How many connections the system lets the process have."""

from __future__ import annotations

import resource

from serving.base.logs import log

# Of the files that the process may open, those that are none: models, logs, the registry, gRPC.
_N_OTHER_FILES = 128


def possible_connections(wanted: int) -> int:
    """At most `wanted`; fewer where the limit of open files does not allow them, once raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _N_OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    possible = wanted if soft == resource.RLIM_INFINITY else min(wanted, max(1, soft - _N_OTHER_FILES))
    if possible < wanted:
        log.warning(
            "at most %d connections of the %d of ROCKBANK_MAX_CONNECTIONS: the system allows %d open files; raise it, "
            "by 'ulimit -n' or LimitNOFILE",
            possible, wanted, soft,
        )  # fmt: skip
    return possible
