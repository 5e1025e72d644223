"""OME-XML in TIFFs: which page of which file is which plane of the volume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree  # nosec B405  # expat bounds what entities grow to

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN
from rockbank.data.scans.units import metres


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Where a plane is stored: the page `ifd` of the file `name`, which is None for the one with the XML."""

    name: str | None
    ifd: int


@dataclass(frozen=True, kw_only=True)
class OmePixels:
    """What OME-XML says of its one image.

    Attributes:
        shape: rows, columns.
        pixel_type: as NumPy calls it, such as "uint16".
        planes: of the volume, in the order of its slices.
        sizes: physical, of x, y and z, where they are given, in metres.
    """

    shape: tuple[int, int]
    pixel_type: str
    planes: tuple[Plane, ...]
    sizes: Mapping[str, float]


def read_ome(path: Path, xml: str) -> OmePixels:
    """The image that OME-XML describes; planes of several files are its slices.

    Raises:
        VolumeError: for XML that is broken, that describes none or several images, channels or times, or whose
            planes are not each stored once, naming these.
    """
    try:
        root = ElementTree.fromstring(xml)  # nosec B314  # as above
    except ElementTree.ParseError as error:
        raise VolumeError(f"{path}: its OME-XML is broken ({error}); {AGAIN}") from error
    elsewhere = root.find("{*}BinaryOnly")
    if elsewhere is not None:
        raise VolumeError(
            f"{path}: a part of a set that '{elsewhere.get('MetadataFile')}' describes; add the file that has the "
            "set's OME-XML"
        )
    images = root.findall("{*}Image/{*}Pixels")
    if len(images) != 1:
        raise VolumeError(f"{path}: its OME-XML has {len(images)} images; keep only that of the scan")
    (pixels,) = images
    size = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in "XYZCT"}
    depth = [axis for axis in "ZCT" if size[axis] > 1]
    if len(depth) > 1 or size["C"] > 1:
        raise VolumeError(f"{path}: {size['C']} channels and {size['T']} times; keep one grey volume")
    kind = pixels.attrib["Type"]
    stored = _stored(path, pixels, size, root.get("UUID"))
    return OmePixels(
        shape=(size["Y"], size["X"]),
        pixel_type={"float": "float32", "double": "float64"}.get(kind, kind),
        planes=stored,
        sizes=_sizes(pixels, "XYZ" if len(stored) > 1 else "XY"),
    )


def _stored(path: Path, pixels: ElementTree.Element, size: Mapping[str, int], own: str | None) -> tuple[Plane, ...]:
    n = math.prod(size[axis] for axis in "ZCT")
    order = [axis for axis in pixels.attrib["DimensionOrder"] if axis in "ZCT"]
    found: dict[int, list[Plane]] = {}
    for data in pixels.findall("{*}TiffData"):
        uuid = data.find("{*}UUID")
        name = None if uuid is None or uuid.text == own or uuid.get("FileName") == path.name else uuid.get("FileName")
        if name is not None and Path(name).name != name:
            raise VolumeError(f"{path}: its OME-XML names '{name}', which is not beside it; put the set in one folder")
        first = 0
        for axis in reversed(order):
            first = first * size[axis] + int(data.get(f"First{axis}", 0))
        ifd = int(data.get("IFD", 0))
        count = int(data.get("PlaneCount", 1 if "IFD" in data.attrib else n))
        for i in range(min(count, n + 1)):
            found.setdefault(first + i, []).append(Plane(name=name, ifd=ifd + i))
    faults = [f"{path}: plane {i} of {n} is stored nowhere" for i in range(n) if i not in found]
    faults += [f"{path}: plane {i} of {n} is stored {len(each)} times" for i, each in found.items() if len(each) > 1]
    faults += [f"{path}: plane {i} is stored, but there are {n}" for i in found if i >= n]
    planes = [each for i in sorted(found) for each in found[i]]
    faults += [
        f"{path}: page {each.ifd} of {each.name or path.name} is stored as several planes"
        for each in dict.fromkeys(planes)
        if planes.count(each) > 1
    ]
    if faults:
        raise VolumeError("\n".join(f"{fault}, as its OME-XML says; {AGAIN}" for fault in faults[:5]))
    return tuple(planes)


def _sizes(pixels: ElementTree.Element, axes: str) -> dict[str, float]:
    sizes = {}
    for axis in axes:
        # OME's default is the micrometre.
        value, unit = pixels.get(f"PhysicalSize{axis}"), metres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if value is not None and unit is not None:
            sizes[axis.lower()] = float(value) * unit
    return sizes
