"""What a TIFF says of the size of its voxels and of values that are no data."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import tifffile

from rockbank.data.scans.declared import cubic
from rockbank.data.scans.tiff.ome import OmePixels
from rockbank.data.scans.units import metres

# Dots per inch of screens and printers, which programs write where they know nothing of the scale.
DISPLAY = {1, 72, 75, 90, 96, 100, 120, 144, 150, 200, 240, 300, 400, 600, 1200}


def declared_voxel_size(path: Path, tiff: tifffile.TiffFile, ome: OmePixels | None) -> float | None:
    """Metres, by OME-XML, else by ImageJ's description, else by the resolution's unit; None where nothing says it.

    Raises:
        VolumeError: where voxels are no cubes.
    """
    page = tiff.pages.first
    if ome is not None:
        return cubic(path, ome.sizes.get("x"), ome.sizes.get("y"), ome.sizes.get("z"))
    per_x, per_y = _number(page, 282), _number(page, 283)
    about = tiff.imagej_metadata
    if about is not None:
        unit = metres(str(about.get("unit", "")))
        if unit is None or per_x is None or per_y is None:
            return None
        spacing = about.get("spacing")
        is_stack = len(tiff.pages) > 1 or int(about.get("images", 1)) > 1
        z = abs(float(spacing)) * unit if spacing and is_stack else None
        return cubic(path, unit / per_x, unit / per_y, z)
    unit = {2: 0.0254, 3: 0.01}.get(int(page.tags.valueof(296, 2)))
    if unit is None or per_x is None or per_y is None or (unit == 0.0254 and {per_x, per_y} <= DISPLAY):
        return None
    return cubic(path, unit / per_x, unit / per_y, None)


def declared_nodata(page: tifffile.TiffPage) -> float | None:
    """What GDAL's tag declares to be no data."""
    with suppress(ValueError, TypeError):
        return float(str(page.tags.valueof(42113)).replace(",", "."))
    return None


def _number(page: tifffile.TiffPage, code: int) -> float | None:
    value = page.tags.valueof(code)
    if not isinstance(value, tuple) or len(value) != 2 or value[1] == 0 or value[0] == 0:
        return None
    return float(value[0] / value[1])
