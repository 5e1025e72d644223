import pytest

from rockbank.metrics.table2 import table2


def distances(fid, kid):
    protocol = {"n": 100, "fid": fid, "kid": kid, "kid_std": 0.001, "kid_subset_size": 50}
    return {"paper": protocol, "large": {**protocol, "n": 1000}, "fid_infinity": fid / 2, "s2_distance": 0.0123}


def scores(fid, kid, **changed):
    return {"extractor": "tiny/16", **distances(fid, kid), "real_against_real": distances(9.0, -0.0002), **changed}


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


def test_rows_of_different_extractors_are_refused():
    with pytest.raises(ValueError, match="score them again"):
        table2({"wgan-gp": scores(40.0, 0.05), "dcgan": scores(40.0, 0.05, extractor="other")})


def test_a_table_without_rows_is_an_error():
    with pytest.raises(ValueError, match="no rows"):
        table2({})
