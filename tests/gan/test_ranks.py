"""Two processes of half a batch each take the steps of one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rockbank.core.errors import InputError
from rockbank.gan import training_state
from rockbank.gan.checkpoint import FILE
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
from rockbank.gan import training_state
from rockbank.gan.ranks import torchrun_ranks
from rockbank.gan.training import fit
from rockbank.params import GeneratorParams
torch.set_num_threads(1)
# RMSProp and Adam divide each gradient by its size, be it rounding alone; this step is linear in it.
training_state.make_optimiser = lambda name, parameters, rate, betas: torch.optim.SGD(parameters, lr=rate)
with torchrun_ranks() as ranks:
    for name, raw in json.loads(Path(sys.argv[1]).read_text()).items():
        params = GeneratorParams(**{**raw, "latent": tuple(raw["latent"])})
        folder = Path(sys.argv[2]) / name
        for _ in fit(np.load(Path(sys.argv[1]).parent / f"{name}.npy"), params, device=torch.device("cpu"),
                          evaluate=lambda samples: {"kid": float(samples.std())}, n_samples=3, checkpoint=folder,
                          ranks=ranks):
            pass
"""


def write(folder: Path, asked: dict[str, GeneratorParams]) -> Path:
    """What the processes read."""
    path = folder / "asked.json"
    path.write_text(json.dumps({name: asdict(params) for name, params in asked.items()}))
    for name, params in asked.items():
        np.save(folder / f"{name}.npy", crops_for(params))
    return path


def torchrun(n: int, asked: Path, out: Path) -> subprocess.Popen[bytes]:
    """The training by `n` processes."""
    script = asked.with_name("process.py")
    script.write_text(PROCESS)
    out.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    return subprocess.Popen([*command, str(script), str(asked), str(out)], stderr=subprocess.PIPE)


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
    process = torchrun(2, asked, tmp_path / "two")
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


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="batch: got 8 for 3 processes"):
        Ranks(world=3).check(8)
