"""A multi-page TIFF whose length and every place are known before its first pixel, so that it can be streamed.

One strip a page, 8 bits, uncompressed; the pixels of all pages follow each other, as ImageJ asks for. tifffile goes
back in its file to enter what it learns as it writes, which a stream cannot.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

from serving.errors import BadRequest

# TIFF 6.0, section 2: offsets are 32 bits.
_MAX_BYTES = 2**32 - 1
_SHORT, _LONG, _ASCII, _RATIONAL = 3, 4, 2, 5
_SIZES = {_SHORT: 2, _LONG: 4, _ASCII: 1, _RATIONAL: 8}
_N_TAGS, _N_TAGS_FIRST = 12, 13


class Layout:
    """Where everything lies in a stack of `n_pages` grey pages.

    Attributes:
        size: of the whole file, bytes.
    """

    def __init__(self, n_pages: int, height: int, width: int, voxel_size: float) -> None:
        """The layout of a stack.

        Args:
            voxel_size: metres.

        Raises:
            BadRequest: where the stack does not fit into a TIFF.
        """
        self._n_pages = n_pages
        self._shape = height, width
        per_centimetre = 0.01 / voxel_size
        # Both numbers of the fraction have 32 bits.
        most = max(1, min(2**20, int(_MAX_BYTES / per_centimetre)))
        resolution = Fraction(per_centimetre).limit_denominator(most)
        self._resolution = struct.pack("<II", min(resolution.numerator, _MAX_BYTES), resolution.denominator)
        pages = f"images={n_pages}\nslices={n_pages}\nhyperstack=false"
        text = f"ImageJ=1.11a\n{pages}\nspacing={voxel_size * 1e6:.9g}\nunit=um\n"
        self._about = text.encode() + b"\0"
        self._about += b"\0" * (len(self._about) % 2)
        self._text_at = 8 + _directory_size(_N_TAGS_FIRST)
        self._resolution_at = self._text_at + len(self._about)
        self._pixels_at = self._resolution_at + len(self._resolution)
        end_of_pixels = self._pixels_at + n_pages * height * width
        self._rest_at = end_of_pixels + end_of_pixels % 2
        self.size = self._rest_at + (n_pages - 1) * _directory_size(_N_TAGS)
        if self.size > _MAX_BYTES:
            raise BadRequest(
                f"{n_pages} pages make {self.size} bytes, more than a TIFF's 4 GiB; ask for less, or for npy"
            )

    def head(self) -> bytes:
        """All that stands before the pixels."""
        directory = self._directory(0, self._rest_at if self._n_pages > 1 else 0)
        return struct.pack("<2sHI", b"II", 42, 8) + directory + self._about + self._resolution

    def tail(self) -> Iterator[bytes]:
        """All that stands after them: the directories of the other pages."""
        yield b"\0" * ((self._pixels_at + self._n_pages * self._page_size) % 2)
        step = _directory_size(_N_TAGS)
        for i_page in range(1, self._n_pages):
            next_at = self._rest_at + i_page * step if i_page < self._n_pages - 1 else 0
            yield self._directory(i_page, next_at)

    @property
    def _page_size(self) -> int:
        return self._shape[0] * self._shape[1]

    def _directory(self, i_page: int, next_at: int) -> bytes:
        height, width = self._shape
        strip_at = self._pixels_at + i_page * self._page_size
        about = [_tag(270, _ASCII, len(self._about), self._text_at)] if i_page == 0 else []
        tags = [
            _tag(256, _LONG, 1, width),
            _tag(257, _LONG, 1, height),
            _tag(258, _SHORT, 1, 8),  # bits per sample
            _tag(259, _SHORT, 1, 1),  # no compression
            _tag(262, _SHORT, 1, 1),  # 0 is black
            *about,
            _tag(273, _LONG, 1, strip_at),
            _tag(277, _SHORT, 1, 1),  # samples per pixel
            _tag(278, _LONG, 1, height),  # rows per strip
            _tag(279, _LONG, 1, self._page_size),
            _tag(282, _RATIONAL, 1, self._resolution_at),
            _tag(283, _RATIONAL, 1, self._resolution_at),
            _tag(296, _SHORT, 1, 3),  # per centimetre
        ]
        return struct.pack("<H", len(tags)) + b"".join(tags) + struct.pack("<I", next_at)


def _directory_size(n_tags: int) -> int:
    return 2 + 12 * n_tags + 4


def _tag(number: int, kind: int, count: int, value: int) -> bytes:
    if count * _SIZES[kind] <= 2 and kind == _SHORT:
        return struct.pack("<HHIHH", number, kind, count, value, 0)
    return struct.pack("<HHII", number, kind, count, value)
