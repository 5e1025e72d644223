"""A version's files in one archive, with their fingerprints, which the service's key signs."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rockbank.core.errors import UserError
from rockbank.mlops.registry import FILES
from serving.dataplane.encode import Chunk

# As `sha256sum --check` and `openssl pkeyutl -verify -rawin` read them.
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
_N_READ = 1024**2


class SigningKeyError(UserError, ValueError):
    """The file of the signing key cannot be used."""


class Signer:
    """Signs with an Ed25519 key, whose public half clients have from elsewhere."""

    def __init__(self, path: Path) -> None:
        """The key in the PEM file `path`.

        Raises:
            SigningKeyError: where there is none, or others may read it.
        """
        try:
            mode, text = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise SigningKeyError(f"signing_key_file {path}: {error.strerror or error}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise SigningKeyError(f"signing_key_file {path}: others may read it; chmod 600 {path}")
        try:
            key = load_pem_private_key(text, password=None)
        except (ValueError, TypeError) as error:
            raise SigningKeyError(f"signing_key_file {path}: no PEM of a private key without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyError(
                f"signing_key_file {path}: not an Ed25519 key; openssl genpkey -algorithm ed25519 -out {path}"
            )
        self._key = key

    def sign(self, text: bytes) -> bytes:
        """64 bytes, the same for the same text."""
        return self._key.sign(text)


def bundle(folder: Path, signer: Signer | None) -> Iterator[Chunk]:
    """The archive, a megabyte at a time; the same files make the same archive.

    Args:
        folder: with the version's files.
        signer: of the fingerprints, which are of the bytes that went into the archive; None leaves them unsigned.
    """
    written, sums = _Written(), []
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name in FILES:
            digest = hashlib.sha256()
            with (folder / name).open("rb") as file, archive.open(_entry(name), "w") as member:
                while block := file.read(_N_READ):
                    digest.update(block)
                    member.write(block)
                    yield written.take()
            sums.append(f"{digest.hexdigest()}  {name}\n")
        text = "".join(sums).encode()
        archive.writestr(_entry(SUMS), text)
        if signer is not None:
            archive.writestr(_entry(SIGNATURE), signer.sign(text))
    yield written.take()


def _entry(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))


class _Written(io.RawIOBase):
    """A file that cannot be gone back in, and whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._kept += data
        return len(data)

    def take(self) -> bytes:
        kept, self._kept = bytes(self._kept), bytearray()
        return kept
