"""Slurm on this machine alone: munged, slurmctld and one slurmd, on ports and in a folder of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
MinJobAge=10
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def absent() -> str | None:
    """Why it cannot be started here."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not found: apt-get install slurm-wlm munge"
    return None if os.getuid() == 0 else "slurmctld and slurmd are started as root only"


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """While the block runs; SLURM_CONF has to be {folder}/slurm.conf in it."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    # munged wants every folder above its socket to be open to all, and none else to write to it.
    (folder / "munge").chmod(0o711)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    controller, daemon = _free_ports(2)
    host, cores = socket.gethostname(), len(os.sched_getaffinity(0))
    text = CONFIGURATION.format(folder=folder, host=host, controller=controller, daemon=daemon, cores=cores)
    (folder / "slurm.conf").write_text(text)
    munge = [f"--{name}={folder}/munge/{name.split('-')[0]}" for name in ("key-file", "socket", "pid-file", "log-file")]
    commands = [["munged", "--foreground", "--force", *munge, f"--seed-file={folder}/munge/seed"],
                ["slurmctld", "-D"], ["slurmd", "-D"]]  # fmt: skip
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(_end, process)
            if command[0] == "munged":
                _wait_for(lambda: (folder / "munge" / "socket").exists(), process)
        _wait_for(lambda: b"idle" in subprocess.run(["sinfo", "--noheader"], capture_output=True).stdout, process)
        yield


def _wait_for(is_there: object, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if is_there():  # type: ignore[operator]
            return
        assert process.poll() is None, f"{process.args} ended"
        time.sleep(0.1)
    raise AssertionError(f"{process.args} does not answer")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(30)


def _free_ports(n: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
