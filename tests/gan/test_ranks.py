"""Two processes of half a batch each take the steps of one, and what one of them leaves another number goes on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rockbank.core.errors import InputError
from rockbank.gan import training_state
from rockbank.gan.checkpoint import FILE, load_checkpoint
from rockbank.gan.ranks import Ranks
from rockbank.gan.training import fit
from rockbank.params import GeneratorParams
from tests.gan.test_training import KINDS, crops_for

# Sums of two halves round otherwise than those of a whole: float32 to some 1e-7 of the largest, a few times over.
TOLERANCE = 1e-5
# Between them the penalty, the energy distance, batch norm, dropout, the moving average.
ASKED = {
    name: replace(KINDS[name], bf16=False, n_steps=1, evaluate_every=1, rate_generator=0.1, rate_critic=0.1)
    for name in ("wgan-gp, rmsprop", "projected", "deepflow")
}
PROCESS = """
import json, sys
import numpy as np
import torch
from pathlib import Path
from rockbank.gan.ranks import torchrun_ranks
from rockbank.gan.training import fit
from rockbank.params import GeneratorParams
torch.set_num_threads(1)
if sys.argv[3:]:
    # RMSProp and Adam divide each gradient by its size, be it rounding alone; this step is linear in it.
    from rockbank.gan import training_state
    training_state.make_optimiser = lambda name, parameters, rate, betas: torch.optim.SGD(parameters, lr=rate)
with torchrun_ranks() as ranks:
    for name, raw in json.loads(Path(sys.argv[1]).read_text()).items():
        params = GeneratorParams(**{**raw, "latent": tuple(raw["latent"])})
        folder = Path(sys.argv[2]) / name
        for record in fit(np.load(Path(sys.argv[1]).parent / f"{name}.npy"), params, device=torch.device("cpu"),
                          evaluate=lambda samples: {"kid": float(samples.std())}, n_samples=3, checkpoint=folder,
                          ranks=ranks):
            (Path(sys.argv[2]) / f"{ranks.rank}-{record.step}").touch()
"""


def write(folder: Path, asked: dict[str, GeneratorParams]) -> Path:
    """What the processes read."""
    path = folder / "asked.json"
    path.write_text(json.dumps({name: asdict(params) for name, params in asked.items()}))
    for name, params in asked.items():
        np.save(folder / f"{name}.npy", crops_for(params))
    return path


def torchrun(n: int, asked: Path, out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The training by `n` processes."""
    script = asked.with_name("process.py")
    script.write_text(PROCESS)
    out.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    return subprocess.Popen([*command, str(script), str(asked), str(out), *arguments], stderr=subprocess.PIPE)


def one_process(params: GeneratorParams, folder: Path) -> None:
    torch.set_num_threads(1)
    for _ in fit(
        crops_for(params),
        params,
        device=torch.device("cpu"),
        evaluate=lambda samples: {"kid": float(samples.std())},
        n_samples=3,
        checkpoint=folder,
    ):
        pass


@pytest.mark.slow
def test_two_processes_of_half_the_batch_take_the_step_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = write(tmp_path, ASKED)
    process = torchrun(2, asked, tmp_path / "two", "linear")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    monkeypatch.setattr(
        training_state, "make_optimiser", lambda name, parameters, rate, betas: torch.optim.SGD(parameters, lr=rate)
    )
    for name, params in ASKED.items():
        one_process(params, tmp_path / "one" / name)
        before = training_state.TrainingState(crops_for(params), params, torch.device("cpu")).tensors()
        one, two = (load_file(tmp_path / which / name / FILE) for which in ("one", "two"))
        assert one.keys() == two.keys()
        for network in ("generator", "critic", "average"):
            keys = [key for key in before if key.startswith(f"{network}.")]
            step = max(float((one[key] - before[key]).abs().max()) for key in keys)
            difference = max(float((one[key] - two[key]).abs().max()) for key in keys)
            print(f"{name}, {network}: a step of {step:.3g} differs by {difference / step:.2g} of it")
            assert 0 < difference <= TOLERANCE * step


@pytest.mark.slow
def test_a_killed_rank_stops_all_and_another_number_goes_on(tmp_path: Path) -> None:
    params = replace(KINDS["wgan-gp, rmsprop"], bf16=False, n_steps=40, evaluate_every=1)
    asked = write(tmp_path, {"all": params})
    process = torchrun(2, asked, tmp_path / "two")
    while not (tmp_path / "two" / "1-3").exists():
        time.sleep(0.05)
        assert process.poll() is None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (rank,) = [pid for pid in children if b"process.py" in Path(f"/proc/{pid}/cmdline").read_bytes()][-1:]
    os.kill(int(rank), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
    assert not (tmp_path / "two" / "0-40").exists()
    before = load_checkpoint(tmp_path / "two" / "all")
    one_process(params, tmp_path / "two" / "all")
    after = load_checkpoint(tmp_path / "two" / "all")
    assert before is not None
    assert after is not None
    n = before[1]["step"]
    assert 3 <= n < after[1]["step"] == 40
    assert after[1]["history"][:n] == before[1]["history"]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="batch: got 8 for 3 processes"):
        Ranks(world=3).check(8)
