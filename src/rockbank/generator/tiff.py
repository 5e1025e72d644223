"""A TIFF of grey pages whose length and every place are known before its first pixel, so that it can be streamed.

8 bits, uncompressed; the pixels of all pages follow each other, as ImageJ asks for, so that they can be mapped into
memory. tifffile goes back in its file to enter what it learns as it writes, which a stream cannot. What is beyond 4 GiB
is a BigTIFF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction

# TIFF 6.0, section 2: offsets are 32 bits.
_MAX_BYTES = 2**32 - 1
_SHORT, _LONG, _ASCII, _RATIONAL, _LONG8 = 3, 4, 2, 5, 16
_SIZES = {_SHORT: 2, _LONG: 4, _ASCII: 1, _RATIONAL: 8, _LONG8: 8}
# Readers fetch whole strips: those of one for a page would read all of it for its first row.
_STRIP_ROWS = 256


class Layout:
    """Where everything lies in a stack of `n_pages` grey pages.

    Attributes:
        is_big: whether it is a BigTIFF.
        size: of the whole file, bytes.
    """

    def __init__(self, n_pages: int, height: int, width: int, voxel_size: float) -> None:
        """The layout of a stack.

        Args:
            voxel_size: metres.
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
        self._fit(is_big=False)
        if self.size > _MAX_BYTES:
            self._fit(is_big=True)

    def head(self) -> bytes:
        """All that stands before the pixels."""
        first = self._directory(0, self._rest_at if self._n_pages > 1 else 0)
        if self.is_big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, self._header_size) + first
        return struct.pack("<2sHI", b"II", 42, self._header_size) + first

    def tail(self) -> Iterator[bytes]:
        """All that stands after them: the directories of the other pages."""
        yield b"\0" * ((self._pixels_at + self._n_pages * self._page_size) % 2)
        for i_page in range(1, self._n_pages):
            yield self._directory(i_page, self._directory_at(i_page + 1) if i_page < self._n_pages - 1 else 0)

    def _fit(self, *, is_big: bool) -> None:
        self.is_big = is_big
        self._header_size = 16 if is_big else 8
        # A directory's size does not depend on where things lie.
        self._pixels_at = self._rest_at = self._step = 0
        self._pixels_at = self._header_size + len(self._directory(0, 0))
        end_of_pixels = self._pixels_at + self._n_pages * self._page_size
        self._rest_at = end_of_pixels + end_of_pixels % 2
        self._step = len(self._directory(1, 0))
        self.size = self._rest_at + (self._n_pages - 1) * self._step

    @property
    def _page_size(self) -> int:
        return self._shape[0] * self._shape[1]

    def _directory_at(self, i_page: int) -> int:
        return self._header_size if i_page == 0 else self._rest_at + (i_page - 1) * self._step

    def _directory(self, i_page: int, next_at: int) -> bytes:
        """The tags of a page, and after them the values that do not fit into their tags."""
        height, width = self._shape
        tops = range(0, height, _STRIP_ROWS)
        page_at = self._pixels_at + i_page * self._page_size
        strips_at = [page_at + top * width for top in tops]
        strip_sizes = [min(_STRIP_ROWS, height - top) * width for top in tops]
        place = _LONG8 if self.is_big else _LONG
        tags = [
            (256, _LONG, _numbers(_LONG, width)),
            (257, _LONG, _numbers(_LONG, height)),
            (258, _SHORT, _numbers(_SHORT, 8)),  # bits per sample
            (259, _SHORT, _numbers(_SHORT, 1)),  # no compression
            (262, _SHORT, _numbers(_SHORT, 1)),  # 0 is black
            *([(270, _ASCII, self._about)] if i_page == 0 else []),
            (273, place, _numbers(place, *(min(each, self._most) for each in strips_at))),
            (277, _SHORT, _numbers(_SHORT, 1)),  # samples per pixel
            (278, _LONG, _numbers(_LONG, min(_STRIP_ROWS, height))),  # rows per strip
            (279, place, _numbers(place, *strip_sizes)),
            (282, _RATIONAL, self._resolution),
            (283, _RATIONAL, self._resolution),
            (296, _SHORT, _numbers(_SHORT, 3)),  # per centimetre
        ]
        count, offset, inline = ("<Q", "<Q", 8) if self.is_big else ("<H", "<I", 4)
        n_bytes = struct.calcsize(count) + len(tags) * (4 + 2 * inline) + struct.calcsize(offset)
        beside_at, beside, entries = self._directory_at(i_page) + n_bytes, b"", b""
        for number, kind, value in tags:
            entries += struct.pack("<HH", number, kind) + struct.pack(offset, len(value) // _SIZES[kind])
            if len(value) <= inline:
                entries += value.ljust(inline, b"\0")
            else:
                entries += struct.pack(offset, min(beside_at + len(beside), self._most))
                beside += value + b"\0" * (len(value) % 2)
        return struct.pack(count, len(tags)) + entries + struct.pack(offset, min(next_at, self._most)) + beside

    @property
    def _most(self) -> int:
        # Of a stack that turns out to be too large for this kind.
        return 2**64 - 1 if self.is_big else _MAX_BYTES


def _numbers(kind: int, *values: int) -> bytes:
    return struct.pack(f"<{len(values)}{ {_SHORT: 'H', _LONG: 'I', _LONG8: 'Q'}[kind] }", *values)
