"""Training learns, repeats itself exactly, survives a kill, and stops where it diverges."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from rockbank.data.synthetic.channels import channel_sections
from rockbank.gan.batches import real_batch
from rockbank.gan.checkpoint import FILE, CheckpointMismatch, load_checkpoint, save_checkpoint
from rockbank.gan.training import fit, pick_device
from rockbank.gan.training_state import Record, TrainingDiverged
from rockbank.params import GeneratorParams

PARAMS = GeneratorParams(
    family="shale",
    network="table1",
    latent=(8,),
    loss="wgan-gp",
    optimiser="rmsprop",
    rate_generator=1e-3,
    rate_critic=1e-3,
    anneal_from=1.0,
    clip=0.0,
    penalty=10.0,
    energy=0.0,
    n_critic=2,
    shares_batch=False,
    batch=8,
    turns=False,
    n_steps=12,
    spectral_steps=0,
    critic_width=4,
    dropout=0.25,
    ema=0.9,
    bf16=True,
    evaluate_every=4,
    seed=5,
)
KINDS = {
    "wgan-gp, rmsprop": PARAMS,
    "wgan-lp, adam": replace(PARAMS, loss="wgan-lp", optimiser="adam", bf16=False),
    "dcgan, adam": replace(PARAMS, loss="dcgan", optimiser="adam", penalty=0.0, n_critic=1),
    "projected": replace(
        PARAMS,
        network="texture",
        latent=(372, 10, 10),
        loss="hinge",
        optimiser="adam",
        anneal_from=0.5,
        clip=1.0,
        penalty=0.0,
        energy=1.0,
        dropout=0.0,
        n_critic=1,
        shares_batch=True,
        batch=4,
        turns=True,
        n_steps=6,
        evaluate_every=2,
    ),
    "deepflow": replace(PARAMS, network="deepflow", latent=(6, 1, 1), loss="wgan-lp", n_steps=6, evaluate_every=2),
    "bodies": replace(
        PARAMS,
        network="bodies",
        latent=(5 * 4 + 2 * 32,),
        loss="wgan-lp",
        optimiser="adam",
        energy=1.0,
        batch=4,
        n_steps=6,
        evaluate_every=2,
    ),
}
# What a killed training runs, in a process of its own; the parameters come as JSON.
CHILD = """
import json, sys
import numpy as np
from pathlib import Path
from rockbank.gan.training import fit, pick_device
from rockbank.params import GeneratorParams
raw = json.loads(sys.argv[1])
params = GeneratorParams(**{**raw, "latent": tuple(raw["latent"])})
evaluate = lambda samples: {"kid": float(samples.std())}
for record in fit(np.load(sys.argv[2]), params, device=pick_device(), evaluate=evaluate, n_samples=3,
                  checkpoint=Path(sys.argv[3])):
    print(record.step, flush=True)
"""


def make_crops(n: int = 40, image: tuple[int, int, int] = (1, 16, 16)) -> np.ndarray:
    return np.random.default_rng(1).integers(150, 230, (n, *image), dtype=np.uint8)


def crops_for(params: GeneratorParams) -> np.ndarray:
    images = {"deepflow": (3, 64, 64), "bodies": (3, 32, 64), "texture": (1, 32, 32), "table1": (1, 16, 16)}
    return make_crops(image=images[params.network])


def run(params: GeneratorParams, checkpoint: Path | None = None) -> Iterator[Record]:
    return fit(
        crops_for(params),
        params,
        device=pick_device(),
        evaluate=lambda samples: {"kid": float(samples.std())},
        n_samples=3,
        checkpoint=checkpoint,
    )


def comparable(record: Record) -> tuple[int, dict[str, float], bool, int]:
    metrics = {name: value for name, value in record.metrics.items() if name != "images_per_second"}
    return record.step, metrics, record.is_best, record.best_step


def assert_same(records: list[Record], others: list[Record]) -> None:
    """Exactly: nothing here may round differently."""
    assert [comparable(each) for each in records] == [comparable(each) for each in others]
    best, other = records[-1].best, others[-1].best
    assert best.keys() == other.keys()
    assert all(torch.equal(best[name], other[name]) for name in best)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_same_records(kind: str) -> None:
    assert_same(list(run(KINDS[kind])), list(run(KINDS[kind])))


def test_rates_fall_linearly_from_where_they_are_reported_to() -> None:
    def moves(params: GeneratorParams) -> list[torch.Tensor]:
        records = fit(crops_for(params), params, device=pick_device(), evaluate=None, n_samples=3, checkpoint=None)
        weights = [record.best["linear.weight"] for record in records]
        return [after - before for before, after in pairwise(weights)]

    # A critic that stands still gives both the same gradient.
    steady = replace(PARAMS, rate_critic=1e-12, bf16=False, n_steps=8, evaluate_every=1, ema=0.0)
    falling = moves(replace(steady, anneal_from=0.5))
    # After 5 of 8 steps, 3/4 of the falling half are left; RMSProp's step is in proportion to the rate.
    torch.testing.assert_close(falling[4], 0.75 * moves(steady)[4], rtol=1e-3, atol=1e-7)
    assert falling[6].norm() < falling[4].norm() / 2


def test_half_of_the_crops_are_turned_by_180_degrees() -> None:
    crops = np.zeros((400, 1, 16, 16), np.uint8)
    crops[:, :, 0, 0] = 255
    corners = real_batch(crops, replace(PARAMS, batch=400, turns=True), 0)[:, 0][:, [0, -1, 0, -1], [0, -1, -1, 0]]
    assert (corners.sum(axis=0)[2:] == 0).all()
    # binomial: 5 standard deviations
    assert corners[:, 1].sum() == pytest.approx(200, abs=50)
    assert corners.sum() == 400


def test_another_seed_gives_other_records() -> None:
    first, other = next(run(PARAMS)), next(run(replace(PARAMS, seed=6)))
    assert first.metrics["critic_loss"] != other.metrics["critic_loss"]


def test_the_callers_random_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    list(run(PARAMS))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_training_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    params = KINDS[kind]
    # Past a checkpoint, so that the steps after it have to be done again.
    list(islice(run(params, tmp_path), params.evaluate_every + 1))
    resumed = list(run(params, tmp_path))
    assert [each.is_replayed for each in resumed] == [each.step <= params.evaluate_every for each in resumed]
    assert_same(resumed, list(run(params)))
    whole = tmp_path / "whole"
    list(run(params, whole))
    assert_same_state(tmp_path, whole)


def assert_same_state(folder: Path, other: Path) -> None:
    saved, others = load_checkpoint(folder), load_checkpoint(other)
    assert saved is not None
    assert others is not None
    assert saved[0].keys() == others[0].keys()
    assert all(torch.equal(saved[0][name], others[0][name]) for name in saved[0])


@pytest.mark.slow
def test_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    params = replace(PARAMS, n_steps=150, evaluate_every=10)
    crops = tmp_path / "crops.npy"
    np.save(crops, crops_for(params))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-c", CHILD, json.dumps(asdict(params)), str(crops), str(killed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        steps = (int(line) for line in child.stdout)
        next(step for step in steps if step == 35)
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    saved = load_checkpoint(killed)
    assert saved is not None
    assert 30 <= saved[1]["step"] < params.n_steps
    resumed = list(run(params, killed))
    assert any(each.is_replayed for each in resumed)
    assert_same(resumed, list(run(params, whole)))
    assert_same_state(killed, whole)


def test_finished_training_is_only_replayed(tmp_path: Path) -> None:
    records = list(run(PARAMS, tmp_path))
    again = list(run(PARAMS, tmp_path))
    assert all(each.is_replayed for each in again)
    assert_same(again, records)


def test_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    list(islice(run(PARAMS, tmp_path), 5))
    with pytest.raises(CheckpointMismatch, match="params"):
        next(run(replace(PARAMS, rate_critic=2e-3), tmp_path))
    with pytest.raises(CheckpointMismatch, match="crops"):
        next(fit(make_crops(41), PARAMS, device=pick_device(), evaluate=None, n_samples=3, checkpoint=tmp_path))


def test_checkpoint_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = replace(PARAMS, n_steps=4, evaluate_every=2)
    list(islice(run(params, tmp_path), 2))
    assert next(run(params, tmp_path)).is_replayed
    monkeypatch.setattr("rockbank.gan.training.code_sha256", lambda parts: "0" * 64)
    with pytest.raises(CheckpointMismatch, match=r"these differ: \['code'\]"):
        next(run(params, tmp_path))


def test_checkpoint_whose_tensors_have_other_shapes_is_refused(tmp_path: Path) -> None:
    list(islice(run(PARAMS, tmp_path), 4))
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    tensors, about = saved
    save_checkpoint(tmp_path, {**tensors, "critic.linear.bias": torch.zeros(7)}, about)
    with pytest.raises(CheckpointMismatch, match=r"does not fit the networks: .*linear\.bias"):
        next(run(PARAMS, tmp_path))


def test_a_restart_gives_the_samples_of_its_checkpoint_again(tmp_path: Path) -> None:
    before = list(islice(run(PARAMS, tmp_path), 8))
    after = list(islice(run(PARAMS, tmp_path), 8))
    assert [each.samples is not None for each in after] == [each.step == 8 for each in after]
    assert before[-1].samples is not None
    np.testing.assert_array_equal(after[-1].samples, before[-1].samples)


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\x08" + bytes(30))
    with pytest.raises(CheckpointMismatch, match="not a checkpoint"):
        next(run(PARAMS, tmp_path))


def test_diverging_training_stops_and_leaves_its_last_checkpoint(tmp_path: Path) -> None:
    params = replace(PARAMS, rate_generator=1e38, evaluate_every=1)
    records = run(params, tmp_path)
    first = next(records)
    with pytest.raises(TrainingDiverged, match=r"critic_loss is (nan|-?inf) at step 2 of 12: lower rate_critic"):
        next(records)
    assert first.step == 1
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    assert saved[1]["step"] == 1


def test_best_is_the_one_of_least_kid_and_not_the_last() -> None:
    kids = iter([3.0, 1.0, 2.0])
    records = list(
        fit(
            make_crops(),
            PARAMS,
            device=pick_device(),
            evaluate=lambda samples: {"kid": next(kids)},
            n_samples=3,
            checkpoint=None,
        )
    )
    assert [each.step for each in records if each.samples is not None] == [4, 8, 12]
    assert [each.step for each in records if each.is_best] == [4, 8]
    assert records[-1].best_step == 8
    assert records[-1].best is records[7].best


def test_without_scores_the_last_is_kept() -> None:
    records = fit(make_crops(), PARAMS, device=pick_device(), evaluate=None, n_samples=3, checkpoint=None)
    assert list(records)[-1].best_step == PARAMS.n_steps


@pytest.mark.parametrize("kind", ["wgan-gp, rmsprop", "wgan-lp, adam", "dcgan, adam"])
def test_samples_come_to_the_grey_of_the_crops(kind: str) -> None:
    params = replace(KINDS[kind], n_steps=80, evaluate_every=80, dropout=0.0)
    wanted = crops_for(params).mean() / 255
    (*_, last) = run(params)
    assert last.samples is not None
    # An untrained generator gives 0.5, 0.25 away.
    assert abs(last.samples.mean() - wanted) < 0.1


@pytest.mark.slow
def test_bodies_come_to_the_sand_of_the_sections() -> None:
    sections = channel_sections(64, np.random.default_rng(0), 0.2)
    params = replace(
        KINDS["bodies"], latent=(5 * 20 + 2 * 64,), rate_generator=0.05, energy=30.0, n_critic=1, batch=8, n_steps=40
    )
    records = list(
        fit(
            np.round(255 * sections).astype(np.uint8),
            replace(params, evaluate_every=params.n_steps),
            device=pick_device(),
            evaluate=None,
            n_samples=32,
            checkpoint=None,
        )
    )
    samples = records[-1].samples
    assert samples is not None
    wanted, found = sections[:, 0].mean(), (samples[:, 0] > 0.5).mean()
    # 0.4 before anything is learnt
    assert found == pytest.approx(wanted, abs=0.06)
    distances = [record.metrics["energy_distance"] for record in records]
    assert np.mean(distances[-5:]) < 0.7 * np.mean(distances[:5])


def test_crops_too_small_for_the_energy_distance_are_refused() -> None:
    params = replace(KINDS["projected"], latent=(372, 9, 9))
    with pytest.raises(ValueError, match="needs two cells a side: cut larger crops, or set energy to 0"):
        next(fit(make_crops(), params, device=pick_device(), evaluate=None, n_samples=3, checkpoint=None))


@pytest.mark.parametrize(
    ("crops", "says"),
    [
        (np.zeros((20, 1, 16, 16), np.float32), "use unsigned integers"),
        (np.zeros((20, 16, 16), np.uint8), "n, c, h, w"),
        (np.zeros((3, 1, 16, 16), np.uint8), "fewer than a batch of 8"),
        (np.zeros((20, 2, 16, 16), np.uint8), "one channel"),
    ],
)
def test_crops_that_do_not_fit_are_refused(crops: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        next(fit(crops, PARAMS, device=pick_device(), evaluate=None, n_samples=3, checkpoint=None))
