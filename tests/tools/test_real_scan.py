"""The page on a real shale is that of its report."""

from pathlib import Path

from rockbank.core.files import read_json
from tools.real_scan import PAGE, PICTURE, REPORT, page

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_that_of_its_report() -> None:
    report = read_json(ROOT / REPORT)
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(report)
    assert (ROOT / PICTURE).is_file()
    assert f"{report['scores']['large']['fid']:.1f}" in page(report)
