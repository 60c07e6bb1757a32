"""Encryption of what is written to a file: AES-256-GCM under a passphrase or a key of 32 bytes.

A passphrase is stretched with Argon2id (RFC 9106), a key goes through HKDF-SHA256 (RFC 5869), each with a random salt.
The header is authenticated with the rest. It also has a checksum, which tells damage of the header from a wrong
passphrase: whoever changes a header on purpose can mend the checksum, but not the authentication.

All numbers are little-endian. The header, 62 bytes:

| bytes | what |
|---|---|
| 8 | ``\\x89CASENC\\n`` |
| 1 | version of the format, 1 |
| 1 | key derivation: 1 HKDF-SHA256, 2 Argon2id |
| 3 × 4 | of Argon2id: memory in KiB, iterations, lanes; 0 of HKDF |
| 16 | salt |
| 12 | nonce, random for each file written |
| 8 | length of the encrypted bytes that follow, the tag of 16 included |
| 4 | CRC-32 of the header before it |

Needs the package `cryptography`, which is imported when something is encrypted or decrypted.
"""

from __future__ import annotations

import os
import struct
import unicodedata
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "HEADER_BYTES",
    "KEY_BYTES",
    "LARGEST",
    "LARGEST_FILE",
    "LEAST_PASSPHRASE",
    "MAGIC",
    "AuthenticationError",
    "DamagedError",
    "EncryptionError",
    "FileKey",
    "KeyMismatchError",
    "check_package",
    "decrypt",
    "encrypt",
    "is_encrypted",
    "takes_passphrase",
]

MAGIC = b"\x89CASENC\n"
VERSION = 1
HKDF, ARGON2ID = 1, 2

FIELDS = struct.Struct("<8sBBIII16s12sQ")
CHECKSUM = struct.Struct("<I")
HEADER_BYTES = FIELDS.size + CHECKSUM.size
KEY_BYTES = 32
SALT_BYTES, NONCE_BYTES, TAG_BYTES = 16, 12, 16

LARGEST = (1 << 31) - 1 - TAG_BYTES
"""Bytes that can be encrypted at once: the limit of `cryptography`."""

LARGEST_FILE = HEADER_BYTES + LARGEST + TAG_BYTES

LEAST_PASSPHRASE = 8
"""Characters of a new passphrase."""


class Cost(NamedTuple):
    """What Argon2id takes."""

    memory: int
    """KiB."""
    iterations: int
    lanes: int


COST = Cost(memory=64 << 10, iterations=3, lanes=4)
"""The recommendation of RFC 9106 for machines with little memory."""

MOST = Cost(memory=1 << 20, iterations=16, lanes=16)
MOST_WORK = 4 << 20
"""KiB of memory times iterations. A header may ask for no more, so that a stranger's file takes seconds, not days."""


class EncryptionError(ValueError):
    """What cannot be encrypted or decrypted. The message has the reason, without a file's name."""


class DamagedError(EncryptionError):
    """The header is damaged, of another version or out of its limits, or the file is cut short."""


class KeyMismatchError(EncryptionError):
    """No passphrase or key was given, or one where the other is needed."""


class AuthenticationError(EncryptionError):
    """The passphrase or key is wrong, or the file was changed after it was encrypted; nobody can tell which."""


@dataclass(frozen=True)
class FileKey:
    """The key of a file, and what its header says of how it is derived. The passphrase itself is not in it."""

    derivation: int
    cost: Cost
    salt: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, *, passphrase: str | None = None, key: bytes | None = None) -> FileKey:
        """A key with a new salt, of a passphrase or of 32 random bytes.

        Raises `KeyMismatchError` unless exactly one is given, `EncryptionError` for a passphrase that is no text or of
        fewer than 8 characters, or a key of another length, and ImportError without `cryptography`.
        """
        if (passphrase is None) == (key is None):
            raise KeyMismatchError(f"expected a passphrase or a key, got {'neither' if key is None else 'both'}")
        if passphrase is not None and len(_text(passphrase)) < LEAST_PASSPHRASE:
            raise EncryptionError(f"passphrase: expected at least {LEAST_PASSPHRASE} characters, got {len(passphrase)}")
        salt = os.urandom(SALT_BYTES)
        if key is None:
            return cls.derived(ARGON2ID, COST, salt, passphrase=passphrase)
        return cls.derived(HKDF, Cost(0, 0, 0), salt, passphrase=passphrase, key=key)

    @classmethod
    def derived(
        cls, derivation: int, cost: Cost, salt: bytes, *, passphrase: str | None = None, key: bytes | None = None
    ) -> FileKey:
        """The key that a header describes. Raises what `new` does but for short passphrases."""
        if (passphrase is None) == (key is None):
            raise KeyMismatchError(
                f"it is encrypted with {_needed(derivation)}: expected that, "
                f"got {'none' if key is None else 'a passphrase and a key'}"
            )
        if (key is None) != (derivation == ARGON2ID):
            raise KeyMismatchError(
                f"it is encrypted with {_needed(derivation)}, got {'a passphrase' if key is None else 'a key'}"
            )
        secret = _stretched(_text(passphrase), cost, salt) if key is None else _expanded(key, salt)
        return cls(derivation, cost, salt, secret)


@dataclass(frozen=True)
class Header:
    """What stands before the encrypted bytes, checked."""

    derivation: int
    cost: Cost
    salt: bytes
    nonce: bytes
    length: int

    def packed(self) -> bytes:
        """The header's bytes."""
        fields = FIELDS.pack(MAGIC, VERSION, self.derivation, *self.cost, self.salt, self.nonce, self.length)
        return fields + CHECKSUM.pack(zlib.crc32(fields))

    @classmethod
    def read(cls, data: bytes) -> Header:
        """The header at the beginning of ``data``. Raises `DamagedError`."""
        if len(data) < HEADER_BYTES:
            raise DamagedError(f"cut short within its header, which has {HEADER_BYTES} bytes")
        magic, version, derivation, *cost, salt, nonce, length = FIELDS.unpack_from(data)
        if magic != MAGIC:
            raise DamagedError("it is not encrypted by cascade, or its header is damaged")
        if version != VERSION:
            raise DamagedError(f"its encryption has version {version}, expected {VERSION}; or its header is damaged")
        if zlib.crc32(data[: FIELDS.size]) != CHECKSUM.unpack_from(data, FIELDS.size)[0]:
            raise DamagedError("its header is damaged")
        return cls(derivation, _checked_cost(derivation, Cost(*cost)), salt, nonce, length)


def is_encrypted(start: bytes) -> bool:
    """Whether a file that begins like that, with 8 bytes or more, is one of ours."""
    return start.startswith(MAGIC)


def takes_passphrase(start: bytes) -> bool:
    """Whether it is a passphrase that decrypts what begins with this header; else a key. Raises `DamagedError`."""
    return Header.read(start).derivation == ARGON2ID


def encrypt(plain: bytes, key: FileKey) -> bytes:
    """The header and the encrypted bytes. Raises `EncryptionError` for more than 2 GiB."""
    aead = _aead(key)
    if len(plain) > LARGEST:
        raise EncryptionError(f"expected at most {LARGEST:,} bytes to encrypt, got {len(plain):,}")
    header = Header(key.derivation, key.cost, key.salt, os.urandom(NONCE_BYTES), len(plain) + TAG_BYTES)
    packed = header.packed()
    return packed + bytes(aead.encrypt(header.nonce, plain, packed))


def decrypt(data: bytes, *, passphrase: str | None = None, key: bytes | None = None) -> tuple[bytes, FileKey]:
    """What `encrypt` was given, and the key to encrypt it again.

    Raises `DamagedError`, `KeyMismatchError` and `AuthenticationError`, and ImportError without `cryptography`.
    """
    header = Header.read(data)
    present = len(data) - HEADER_BYTES
    if present != header.length or present < TAG_BYTES:
        raise DamagedError(f"expected {header.length:,} bytes after its header, got {present:,}: cut short or added to")
    derived = FileKey.derived(header.derivation, header.cost, header.salt, passphrase=passphrase, key=key)
    aead = _aead(derived)
    from cryptography.exceptions import InvalidTag

    try:
        return aead.decrypt(header.nonce, data[HEADER_BYTES:], data[:HEADER_BYTES]), derived
    except InvalidTag:
        what = "passphrase" if key is None else "key"
        raise AuthenticationError(
            f"the {what} is wrong, or the file was changed after it was encrypted; these two cannot be told apart"
        ) from None


def _checked_cost(derivation: int, cost: Cost) -> Cost:
    if derivation == HKDF and cost == (0, 0, 0):
        return cost
    if derivation != ARGON2ID:
        raise DamagedError(f"it names key derivation {derivation} with {tuple(cost)}, which is not known")
    least = Cost(8 * cost.lanes, 1, 1)  # of Argon2 itself
    within = all(low <= value <= high for low, value, high in zip(least, cost, MOST, strict=True))
    if not within or cost.memory * cost.iterations > MOST_WORK:
        raise DamagedError(
            f"its header asks for {cost.memory:,} KiB of memory, {cost.iterations:,} iterations and {cost.lanes:,} "
            f"lanes; expected at most {MOST.memory:,}, {MOST.iterations} and {MOST.lanes}, and {MOST_WORK:,} KiB "
            "times iterations"
        )
    return cost


def _needed(derivation: int) -> str:
    return "a passphrase" if derivation == ARGON2ID else "a key"


def _text(passphrase: object) -> str:
    """The passphrase. Bytes are refused: as text they would be another passphrase, which nobody would find again."""
    if not isinstance(passphrase, str):
        raise EncryptionError(f"passphrase: expected str, got {type(passphrase).__name__}")
    return passphrase


def _stretched(passphrase: str, cost: Cost, salt: bytes) -> bytes:
    """The passphrase in Unicode's NFC, which is the same on every keyboard, through Argon2id."""
    check_package()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    words = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    try:
        argon2 = Argon2id(
            salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory
        )
        return argon2.derive(words)
    except UnsupportedAlgorithm as error:
        raise EncryptionError("passphrase: this build of cryptography has no Argon2id") from error
    except MemoryError as error:
        raise EncryptionError(f"passphrase: its key takes {cost.memory:,} KiB of memory, which is not there") from error


def _expanded(key: bytes, salt: bytes) -> bytes:
    """The key of one file out of a key that may be that of many."""
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        got = f"{len(key)}" if isinstance(key, bytes) else type(key).__name__
        raise EncryptionError(f"key: expected {KEY_BYTES} bytes, got {got}")
    check_package()
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF as Expand

    return Expand(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=MAGIC).derive(key)


def _aead(key: FileKey) -> Any:
    check_package()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key.secret)


def check_package() -> None:
    """Raises ImportError where `cryptography` is missing."""
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise ImportError('encryption needs cryptography: pip install "cascade-faces[encryption]"') from error
