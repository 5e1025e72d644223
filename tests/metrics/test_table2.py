import pytest

from rockbank.metrics.table2 import table2


def distances(fid, kid):
    protocol = {"n": 100, "fid": fid, "kid": kid, "kid_std": 0.001, "kid_subset_size": 50}
    large = {**protocol, "n": 1000}
    free = {
        "grey_distance": 0.01,
        "spectrum_distance": 0.25,
        "lineal_path_distance": 0.0034,
        "porosity_ratio": 0.9,
        "specific_surface_ratio": 1.1,
        "connectivity_ratio": None,
        "inside_band": {"s2": 1.0, "lineal_path": 0.5, "spectrum": 0.25},
    }
    second = {"extractor": "other/8", **large, "fid": 2 * fid, "kid": 2 * kid}
    return {
        "paper": protocol,
        "large": large,
        "fid_infinity": fid / 2,
        "s2_distance": 0.0123,
        "second_extractor": second,
        "network_free": free,
    }


def scores(fid, kid, **changed):
    return {
        "extractor": "tiny/16",
        **distances(fid, kid),
        "real_against_real": distances(9.0, -0.0002),
        "n_blocks": {"training": 47, "test": 24},
        **changed,
    }


def test_each_row_stands_beside_the_papers_own():
    lines = table2({"shale-wgan-gp": scores(40.0, 0.05), "shale-dcgan": scores(60.0, 0.07)}).splitlines()
    assert lines[2].startswith("| real | 9.00 | -0.20 ± 1.00 |")
    assert lines[2].endswith("| 16.63 | 5.11 ± 0.19 |")
    assert lines[3].startswith("| shale-wgan-gp | 40.00 | 50.00 ± 1.00 |")
    assert lines[3].endswith("| 91.12 | 6.38 ± 0.57 |")
    assert lines[4].endswith("| 136.51 | 11.73 ± 0.84 |")


def test_counts_stand_in_the_head_and_the_extractor_below():
    text = table2({"wgan-gp": scores(40.0, 0.05)})
    assert "FID, N = 100 " in text
    assert "KID x 1000, N = 1000" in text
    assert "tiny/16" in text


def test_every_line_has_as_many_cells():
    lines = table2({"wgan-gp": scores(40.0, 0.05), "other": scores(1.0, 0.0)}).splitlines()[:5]
    assert len({line.count("|") for line in lines}) == 1
    assert lines[4].endswith("| - | - |")


def test_a_second_table_has_another_extractor_and_what_no_network_says():
    text = table2({"wgan-gp": scores(40.0, 0.05), "other": scores(1.0, 0.0)})
    lines = text.split("\n\n")[2].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| real | 18.00 | -0.40 ± 1.00 |")
    assert (
        lines[3] == "| wgan-gp | 80.00 | 100.00 ± 1.00 | 2.55 | 0.25 | 0.0034 | 0.9 | 1.1 | - | 100 % | 50 % | 25 % |"
    )
    assert "other/8" in text.split("\n\n")[3]
    assert "47 of training, 24 of test" in text


def test_without_a_second_extractor_its_columns_are_left_out():
    alone = scores(40.0, 0.05, second_extractor=None)
    alone["real_against_real"]["second_extractor"] = None
    lines = table2({"wgan-gp": alone}).split("\n\n")[2].splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| wgan-gp | 2.55 |")


def test_rows_of_different_extractors_are_refused():
    with pytest.raises(ValueError, match="score them again"):
        table2({"wgan-gp": scores(40.0, 0.05), "dcgan": scores(40.0, 0.05, extractor="other")})


def test_a_table_without_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        table2({})
