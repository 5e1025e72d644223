import numpy as np
import pytest
import torch
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from rockbank.metrics.features import ExtractorUnavailable, as_images, features, make_extractor
from rockbank.metrics.fid import fid
from rockbank.metrics.kid import N_SUBSETS, kid

# A batch changes the order of sums in single precision, and nothing else.
SINGLE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def efficientnet():
    return make_extractor("efficientnet-lite0")


def rock(n, c=1, h=64, w=64, seed=0):
    return np.random.default_rng(seed).random((n, c, h, w), dtype=np.float32)


def test_the_name_tells_network_layer_size_and_weights(efficientnet):
    assert efficientnet.name == "efficientnet-lite0-imagenet/pool1280/side128/57934424"
    assert make_extractor("efficientnet-lite2").name == "efficientnet-lite2-imagenet/pool1280/side128/9656183e"


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 128), (1, 256, 256), (1, 48, 80)])
def test_every_family_of_rock_has_1280_features(efficientnet, shape):
    found = features(rock(2, *shape), efficientnet)
    assert found.shape == (2, 1280)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert found.std() > 0


def test_features_do_not_depend_on_the_batch(efficientnet):
    images = rock(5)
    one_by_one = features(images, efficientnet, batch=1)
    torch.testing.assert_close(features(images, efficientnet, batch=3), one_by_one, **SINGLE)


def test_a_bar_changes_no_feature(efficientnet, capsys):
    images = rock(3)
    assert torch.equal(features(images, efficientnet, progress="embedding"), features(images, efficientnet))
    assert capsys.readouterr().out == ""


def test_grey_becomes_three_equal_channels_and_three_stay_as_they_are():
    grey = as_images(rock(2))
    assert grey.shape == (2, 3, 64, 64)
    assert grey.dtype == torch.uint8
    assert torch.equal(grey[:, 0], grey[:, 2])
    colours = rock(2, c=3)
    np.testing.assert_array_equal(as_images(colours).numpy(), np.round(colours * 255))


def test_integers_of_any_width_are_read_by_their_full_scale():
    full = np.iinfo(np.uint16).max
    crops = np.array([0, full // 2, full], dtype=np.uint16).reshape(1, 1, 1, 3)
    assert as_images(crops)[0, 0, 0].tolist() == [0, 127, 255]


def test_two_channels_are_an_error():
    with pytest.raises(ValueError, match=r"\(n, 1, h, w\) or \(n, 3, h, w\)"):
        as_images(rock(2, c=2))


def test_an_unknown_extractor_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="efficientnet-lite0"):
        make_extractor("vgg")


def test_missing_inception_weights_are_an_error_with_a_way_out(tmp_path):
    with pytest.raises(ExtractorUnavailable, match="efficientnet-lite0"):
        make_extractor("inception", tmp_path / "absent.pth")


def test_a_download_that_fails_is_an_error_with_a_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.URL_INCEPTION_V3", "file:///no/w-6726825d.pth")
    with pytest.raises(ExtractorUnavailable, match=r"score\.inception_weights"):
        make_extractor("inception")


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("content", [{"weight": torch.zeros(1)}, [1, 2], Evil()], ids=["keys", "list", "code"])
def test_a_file_that_is_no_inception_is_refused_and_never_unpickled(content, tmp_path):
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(ExtractorUnavailable, match="not the weights"):
        make_extractor("inception", tmp_path / "weights.pth")


class Unloaded(FeatureExtractorInceptionV3):
    """The architecture with random weights."""

    def load_state_dict(self, state_dict, strict=True, assign=False):
        return None


@pytest.mark.slow
def test_inception_reads_weights_from_a_path(tmp_path):
    torch.save({}, tmp_path / "none.pth")
    network = Unloaded("random", ["2048"], str(tmp_path / "none.pth"))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    extractor = make_extractor("inception", tmp_path / "weights.pth")
    assert extractor.name.startswith("inception-v3-compat/2048/side299/")
    images = rock(2)
    torch.testing.assert_close(features(images, extractor), network(as_images(images))[0], **SINGLE)


class Registered(FeatureExtractorBase):
    """Our extractor, as torch-fidelity takes one."""

    def __init__(self, name, features_list, **_):
        super().__init__(name, features_list)
        self.extractor = make_extractor("efficientnet-lite0")

    @staticmethod
    def get_provided_features_list():
        return ("1280",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "1280"

    @staticmethod
    def can_be_compiled():
        return False

    def forward(self, images):
        return (self.extractor(images),)


class Images(Dataset):
    def __init__(self, images):
        self.images = as_images(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


@pytest.mark.slow
def test_fid_and_kid_are_those_of_torch_fidelity_run_directly(monkeypatch, efficientnet):
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, "registered", Registered)
    real, generated = rock(70), 0.2 + 0.6 * rock(70, seed=1)
    wanted = torch_fidelity.calculate_metrics(
        input1=Images(real),
        input2=Images(generated),
        feature_extractor="registered",
        fid=True,
        kid=True,
        kid_subsets=N_SUBSETS,
        kid_subset_size=35,
        rng_seed=8,
        batch_size=32,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    f_1, f_2 = features(real, efficientnet, batch=32), features(generated, efficientnet, batch=32)
    distance = kid(f_1, f_2, seed=8)
    assert fid(f_1, f_2) == pytest.approx(wanted["frechet_inception_distance"], rel=1e-6)
    assert distance.mean == pytest.approx(wanted["kernel_inception_distance_mean"], rel=1e-6)
    assert distance.std == pytest.approx(wanted["kernel_inception_distance_std"], rel=1e-6)
