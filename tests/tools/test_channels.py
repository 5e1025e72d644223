"""What docs/validation/channels.md tells of a prior is what was measured, and tells good priors from bad ones."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, write_json
from rockbank.data.synthetic.channels import FACIES, POROSITY, channel_sections
from rockbank.gan.networks import build_generator
from rockbank.gan.weights import save_weights
from rockbank.generator.card import WEIGHTS, ModelCard
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.results.posterior import POSTERIOR
from rockbank.matching.run import GENERATOR, Run
from rockbank.metrics.features import Extractor, features
from rockbank.rock.segmentation import Segmentation
from rockbank.stages.blueprint import Blueprint
from tests.matching.synthetic import matched
from tests.matching.tiny import make_run, write_case, write_tiny_bodies
from tests.tools.deepflow_modules import ASKED
from tools.channels import __main__ as channels
from tools.channels.flow import chance, energy_distance, flow_responses
from tools.channels.inversion import inversion, inversions, unsoftened
from tools.channels.measures import Law, Settings, find_law, is_sand, ks_statistics, measure, porosities, s2_against
from tools.channels.page import TRIALS, page

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(n_samples=60, n_runs=0, seed=3, sand_proportion=0.5)


def pooled(images: Tensor) -> Tensor:
    return adaptive_avg_pool2d(images.float() / 255, 3).flatten(1)


@pytest.fixture(scope="module")
def law() -> Law:
    extractor = Extractor("pooled", pooled, torch.device("cpu"))
    return find_law(SETTINGS, features(SETTINGS.object_models(60, 9), extractor), extractor, None)


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    """A folder as the pipeline writes it, of a generator that was not trained."""
    folder = tmp_path / "untrained"
    latent, image = (50, 1, 2), (3, 64, 128)
    module = build_generator("deepflow", latent, image, torch.Generator().manual_seed(0))
    save_weights(module.state_dict(), folder / WEIGHTS)
    Blueprint(
        generator="untrained", family="channels", network="deepflow", loss="wgan-lp", latent=latent, image=image
    ).save(folder)
    return folder


def test_object_models_lie_inside_their_band(law: Law) -> None:
    # Outside once in twenty streams, as the band is one of 95 %.
    inside = [
        min(of["inside"] for of in s2_against(law.bands, is_sand(SETTINGS.object_models(60, stream))).values())
        for stream in range(10, 20)
    ]
    assert sum(part == 1 for part in inside) >= 8


def test_a_rock_of_sand_alone_is_outside_at_every_lag_and_has_no_shale_to_compare(law: Law) -> None:
    sections = SETTINGS.object_models(8, 9)
    sections[:, FACIES] = 1
    found, _ = measure(sections, law, SETTINGS, "sand")
    assert [found["s2"][axis]["inside"] for axis in "xz"] == [0, 0]
    assert found["sand"] == {"mean": 1, "std": 0}
    assert found["connected"] == 1
    assert found["ks"]["shale"] is None


def test_sections_on_their_heads_have_the_same_s2_and_connectivity(law: Law) -> None:
    sections = SETTINGS.object_models(60, 11)
    upright, _ = measure(sections, law, SETTINGS, "upright")
    turned, _ = measure(sections[:, :, ::-1].copy(), law, SETTINGS, "turned")
    assert [turned["s2"][axis]["mean"] for axis in "xz"] == [upright["s2"][axis]["mean"] for axis in "xz"]
    assert turned["connected"] == upright["connected"]


def test_porosity_that_is_shifted_within_sand_shows_in_sand_alone() -> None:
    rng = np.random.default_rng(1)
    sections = np.zeros((1, 3, 64, 128), np.float32)
    sections[:, FACIES, :, :64] = 1
    sections[:, POROSITY] = rng.permutation(np.linspace(0, 0.5, 64 * 128, dtype=np.float32)).reshape(64, 128)
    shifted = sections.copy()
    shifted[:, POROSITY, :, :64] += 0.1
    found = ks_statistics(porosities(sections), porosities(shifted))
    # Uniform over 0.5: a shift by 0.1 moves a fifth of the cells, up to what 4096 draws differ from a uniform law.
    assert found["sand"] == pytest.approx(0.2, abs=3 * 0.5 / 64)
    assert found["shale"] == 0


def test_the_energy_distance_of_two_points_is_twice_their_distance() -> None:
    x, y = np.zeros((3, 2)), np.full((4, 2), 3.0)
    assert energy_distance(x, y) == pytest.approx(2 * 3 * 2**0.5, rel=1e-12)


def test_the_energy_distance_of_one_law_is_0_in_the_mean_over_all_divisions() -> None:
    pooled_samples = np.random.default_rng(4).standard_normal((6, 3))
    divisions = [(list(of), [i for i in range(6) if i not in of]) for of in combinations(range(6), 3)]
    found = [energy_distance(pooled_samples[first], pooled_samples[second]) for first, second in divisions]
    assert np.mean(found) == pytest.approx(0, abs=1e-12)
    assert min(found) < 0 < max(found)


def test_chance_parts_one_law_from_two() -> None:
    rng = np.random.default_rng(5)
    x, y, other = rng.standard_normal((3, 40, 2)) + np.array([0, 0, 2])[:, None, None]
    limit = chance(x, y, rng)
    assert 0 < limit < energy_distance(x, other)


def test_the_truth_of_a_case_responds_as_it_was_observed() -> None:
    path = ROOT / "cases" / "deepflow.yaml"
    case = load_match_case(path)
    truth = channel_sections(1, np.random.default_rng(21), 0.5)
    residual = flow_responses(case, truth, "truth")[0] - case.observations.value / case.observations.sigma
    # 111 residuals of N(0, 1): their mean square is 1 within three standard errors of sqrt(2 / 111).
    assert np.mean(residual**2) == pytest.approx(1, abs=3 * (2 / 111) ** 0.5)


def measured(folders: list[Path], law: Law) -> dict[str, Any]:
    return channels.measure_all(channels.read_generators(folders, None), law, SETTINGS)[0]


def test_the_page_is_written_from_the_report_alone(tmp_path: Path, generator: Path, law: Law) -> None:
    report = measured([generator], law)
    report["generators"]["untrained"]["kid"] = 0.654
    write_json(tmp_path / "validation" / "channels.json", report)
    channels.main(["--page", "--to", str(tmp_path)])
    text = (tmp_path / "validation" / "channels.md").read_text(encoding="utf-8")
    assert "|  | object models | untrained | bar |" in text
    assert "**0.654 ±" in text
    assert "published generator is missing" in text
    assert (tmp_path / "pictures" / "channels_s2.png").is_file()


def test_a_generator_that_was_not_trained_has_neither_s2_nor_connectivity(generator: Path, law: Law) -> None:
    report = measured([generator], law)
    rows = [line for line in page(report).splitlines() if " | 100% |" in line or "points |" in line]
    assert len(rows) == 3
    assert [row for row in rows if row.split(" | ")[2].startswith("**")] == []


def test_the_bar_of_the_flow_is_half_of_the_published_distance_and_no_less_than_chance(
    generator: Path, law: Law
) -> None:
    report = measured([generator], law)
    report["law"]["flow_chance"] = {"all": 1.0}
    report["generators"]["published"] = report["generators"].pop("untrained")
    for row, distance in zip(report["generators"].values(), (0.5, 1.5), strict=True):
        row["flow"] = {"all": distance}
    assert "| flow, energy distance | **0.50** | 1.50 | ≤ 1.00, which is chance; half of the pub" in page(report)
    report["generators"]["published"]["flow"] = {"all": 2.5}
    assert "| flow, energy distance | **0.50** | 2.50 | ≤ 1.25, half of" in page(report)


def test_bodies_are_measured_as_a_match_sees_them_too(generator: Path) -> None:
    (name, (module, blueprint)), *softened = channels.with_softened(channels.read_generators([generator], None)).items()
    assert (name, softened) == ("untrained", [])
    bodies = replace(blueprint, network="bodies", latent=(5 * 8 + 2 * 64,))
    module = build_generator("bodies", bodies.latent, bodies.image, torch.Generator())
    found = channels.with_softened({"bodies": (module, bodies)})
    assert list(found) == ["bodies", "bodies at 4/cell"]
    z = torch.randn(2, *bodies.latent, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        of, softer = (each(z) for each, _ in found.values())
    assert (of[:, 0].abs() < 0.9).float().mean() < 0.02 < (softer[:, 0].abs() < 0.9).float().mean()


def test_folders_without_a_generator_and_of_one_name_are_refused(tmp_path: Path, generator: Path) -> None:
    with pytest.raises(ValueError, match=r"neither generator\.json nor card\.json"):
        channels.read_generators([tmp_path], None)
    with pytest.raises(ValueError, match="another row has the name 'untrained'"):
        channels.read_generators([generator, generator], None)


def test_the_committed_page_is_that_of_its_report() -> None:
    folder = ROOT / "docs" / "validation"
    assert (folder / "channels.md").read_text(encoding="utf-8") == page(
        read_json(folder / "channels.json"), folder / TRIALS
    )


def match_run(
    folder: Path, *, failed: tuple[int, ...] = (), method: str = "gauss-newton", leave_out: str | None = None
) -> Path:
    """A run of eight members, whose J and facies at the wells are known."""
    dataset = matched(n_members=8, n_latent=12, seed=1, failed=failed)
    j, i, is_sand = dataset.facies_cell_j.values, dataset.facies_cell_i.values, dataset.facies_is_sand.values
    facies, time_mean = dataset.facies.values, dataset.time_mean.values
    facies[1][:, j, i] = is_sand
    facies[1, 2][j, i] = ~is_sand
    time_mean[1] = np.linspace(0.5, 1.2, 8)
    time_mean[1, 1:3] = 17.5
    for of in (facies, time_mean):
        of[1, list(failed)] = np.nan
    path = np.repeat(dataset.z.values[-1][:, None], dataset.sizes["iterate"], axis=1)
    dataset["z_path"] = (("member", "iterate", "latent"), path)
    settings = ASKED | {"case": "../../cases/deepflow.yaml", "method": method, "members": 8}
    dataset = dataset.drop_vars([leave_out] if leave_out else [])
    folder.mkdir(parents=True)
    dataset.assign_attrs(settings=json.dumps(settings)).to_netcdf(folder / POSTERIOR, engine="h5netcdf")
    ModelCard(
        generator="of-a-test", family="channels", network="bodies", loss="wgan-lp", latent_shape=(12,),
        image_shape=(3, 64, 128), value_range=((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)), voxel_size=4.0,
        segmentation=Segmentation(smoothing=0.0, threshold=0.5, phase="above", channel=FACIES), data_md5=None,
        git_commit=None, scores={}, parity=0.0, golden={}, files={WEIGHTS: "0" * 64},
    ).save(folder / GENERATOR)  # fmt: skip
    return folder


def test_a_row_of_inversion_tells_what_its_members_came_to(tmp_path: Path) -> None:
    found = inversion(match_run(tmp_path / "run"), 6)
    assert (found["members"], found["fit"], found["right"], found["both"]) == (6, 4, 5, 4)
    assert found["time_mean"] == pytest.approx([1.0, 0.5, 17.5], rel=0.1)
    assert found["accuracy"] == [1, 0, 1]
    # The last two of the eight are not of it.
    assert inversion(tmp_path / "run", 8)["fit"] == 6


def test_members_of_softened_edges_are_taken_with_those_of_the_images_too(tmp_path: Path) -> None:
    case = write_case(tmp_path)
    soft, steep = (make_run(tmp_path / str(edges), case, write_tiny_bodies, edges=edges) for edges in (4.0, None))
    latents = np.random.default_rng(0).standard_normal((2, soft.objective.n_latent))

    def time_mean(run: Run) -> list[float]:
        return [run.objective.at(z, run.objective.target()).parts.time_mean for z in latents]

    of_images = time_mean(steep)
    assert unsoftened(soft.folder, latents).tolist() == pytest.approx(of_images, rel=1e-9)
    assert time_mean(soft) != pytest.approx(of_images, rel=1e-3)


def test_runs_that_a_row_cannot_be_made_of_are_refused(tmp_path: Path) -> None:
    run = match_run(tmp_path / "run")
    with pytest.raises(InputError, match="8 members; a row needs 9"):
        inversion(run, 9)
    with pytest.raises(InputError, match="member 2 is failed"):
        inversion(match_run(tmp_path / "failed", failed=(2,)), 6)
    with pytest.raises(InputError, match="another run is called 'run'"):
        inversions([run, match_run(tmp_path / "elsewhere" / "run")], 6)
    with pytest.raises(InputError, match="their method differs"):
        inversions([run, match_run(tmp_path / "other", method="rml")], 6)
    with pytest.raises(InputError, match="a run of 'prior' without iterations"):
        inversion(match_run(tmp_path / "prior", method="prior", leave_out="interpolation_time_mean"), 6)


def test_the_page_has_the_runs_that_were_read(tmp_path: Path, law: Law, generator: Path) -> None:
    found, _, _ = channels.measure_all(channels.read_generators([generator], None), law, SETTINGS)
    write_json(tmp_path / "validation" / "channels.json", found)
    run = match_run(tmp_path / "of-bodies")
    channels.main(["--page", "--to", str(tmp_path), "--matches", str(run), "--members", "6"])
    text = (tmp_path / "validation" / "channels.md").read_text(encoding="utf-8")
    for row in (
        "|  | of-bodies |",
        "| generator | of-a-test |",
        "| edges, 1/cell | as in the images |",
        "| fit | 4 of 6 |",
        "| both | 4 of 6 |",
    ):
        assert row in text
    # And they stay where the page is written again.
    channels.main(["--page", "--to", str(tmp_path)])
    assert (tmp_path / "validation" / "channels.md").read_text(encoding="utf-8") == text
