"""A volume of 1.2 GB becomes crops in 1 GB of memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SHAPE = (560, 1024, 1024)
N_BYTES = 2 * int(np.prod(SHAPE))
# One slice in so many is noise, the others are holes in the file.
NOISY = 8
CODE = """
import json, resource, sys
from pathlib import Path

resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))

from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.checks.tables import volume_table
from rockbank.data.cutting import cut_crops
from rockbank.data.manifest import SegmentationRule, load_manifest
from rockbank.data.stored import open_volumes
from rockbank.params import PrepareParams

folder = Path(sys.argv[1])
rule = SegmentationRule(smoothing=1.5, threshold="otsu")
add_volumes([folder / "a.raw"], folder / "data", options=ScanOptions(), segmentation=rule, licence="-", source="-")
params = PrepareParams(
    size=64, n_train=500, n_validation=50, n_test=100, split="blocks", validation_fraction=0.1, test_fraction=0.25,
    block=3, seed=1,
)
manifest = load_manifest(folder / "data")
with open_volumes(folder / "data", manifest) as volumes:
    crops = cut_crops(volumes, manifest, params)
    table = volume_table(volumes, 1e-6)
# Not ru_maxrss, which begins with that of the process that started this one.
(line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM")]
peak = 1024 * int(line.split()[1])
print(json.dumps({"n": len(crops.crops), "slices": int(table["slices"][0]), "peak": peak}))
"""


@pytest.mark.slow
def test_a_volume_larger_than_memory_is_added_and_cut(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < N_BYTES / 2:
        pytest.skip(f"less than {N_BYTES / 2e9:.1f} GB are free in {tmp_path}")
    noise = np.random.default_rng(0).integers(20_000, 40_000, SHAPE[1:]).astype("<u2")
    with (tmp_path / "a.raw").open("wb") as file:
        file.truncate(N_BYTES)
        for i in range(0, SHAPE[0], NOISY):
            file.seek(i * noise.nbytes)
            file.write(np.roll(noise, i, axis=0).tobytes())
    (tmp_path / "a.json").write_text(json.dumps({"shape": SHAPE, "dtype": "uint16", "voxel_size": 1e-6}))
    done = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=False)
    for path in (tmp_path / "a.raw", tmp_path / "data"):
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["n"] == 650
    assert said["slices"] == SHAPE[0]
    assert said["peak"] < 2**30
