"""Units of length as scans spell them."""

from __future__ import annotations

METRES = {
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-12),
    **dict.fromkeys(("å", "angstrom", "angstroms"), 1e-10),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-9),
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns"), 1e-6),
    **dict.fromkeys(("micrometer", "micrometre", "micrometers", "micrometres"), 1e-6),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1e-3),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 1e-2),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("inch", "inches", "in"), 0.0254),
}


def metres(unit: str) -> float | None:
    """How many metres a unit of length is; None where it is not known, as "pixel"."""
    return METRES.get(unit.strip().lower())
