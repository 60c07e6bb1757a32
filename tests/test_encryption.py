"""Encryption of files: nothing but the same bytes and the same key gives the content back."""

from __future__ import annotations

import struct
import sys
import zlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from cascade import encryption
from cascade.encryption import (
    FIELDS,
    HEADER_BYTES,
    AuthenticationError,
    Cost,
    DamagedError,
    EncryptionError,
    FileKey,
    Header,
    KeyMismatchError,
    decrypt,
    encrypt,
)

KEY = bytes(range(32))
WORDS = "correct horse"
PLAIN = b"the people of the gallery"


@pytest.fixture(autouse=True, scope="module")
def cheap_passphrases():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "COST", Cost(64, 1, 2))
        yield


@given(plain=st.binary(max_size=300), key=st.binary(min_size=32, max_size=32))
def test_what_is_encrypted_with_a_key_comes_back(plain, key):
    data = encrypt(plain, FileKey.new(key=key))
    assert decrypt(data, key=key)[0] == plain
    assert len(data) == HEADER_BYTES + len(plain) + 16
    if len(plain) > 4:
        assert plain not in data[HEADER_BYTES:]


@given(plain=st.binary(max_size=50), words=st.text(min_size=8, max_size=30))
def test_what_is_encrypted_with_a_passphrase_comes_back(plain, words):
    data = encrypt(plain, FileKey.new(passphrase=words))
    found, derived = decrypt(data, passphrase=words)
    assert found == plain
    assert decrypt(encrypt(b"more", derived), passphrase=words)[0] == b"more"


def test_the_format_is_the_one_that_is_documented():
    """Decrypted by hand, with the primitives alone."""
    for data, passphrase in (
        (encrypt(PLAIN, FileKey.new(passphrase="pass\u00e9phrase")), "pass\u00e9phrase"),
        (encrypt(PLAIN, FileKey.new(key=KEY)), None),
    ):
        magic, version, kind, memory, passes, lanes, salt, nonce, length = struct.unpack_from("<8sBBIII16s12sQ", data)
        assert (magic, version, length) == (b"\x89CASENC\n", 1, len(PLAIN) + 16)
        assert struct.unpack_from("<I", data, 58)[0] == zlib.crc32(data[:58])
        if passphrase is None:
            assert (kind, memory, passes, lanes) == (1, 0, 0, 0)
            secret = HKDF(algorithm=SHA256(), length=32, salt=salt, info=magic).derive(KEY)
        else:
            assert (kind, memory, passes, lanes) == (2, 64, 1, 2)
            argon2 = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
            secret = argon2.derive(passphrase.encode())
        assert AESGCM(secret).decrypt(nonce, data[62:], data[:62]) == PLAIN


def test_no_two_files_are_alike():
    key = FileKey.new(key=KEY)
    assert len({encrypt(PLAIN, key)[HEADER_BYTES:] for _ in range(100)}) == 100
    assert FileKey.new(key=KEY).secret != FileKey.new(key=KEY).secret


def test_a_passphrase_is_the_same_however_its_accents_are_encoded():
    data = encrypt(PLAIN, FileKey.new(passphrase="cafe\u0301 noir"))
    assert decrypt(data, passphrase="caf\u00e9 noir")[0] == PLAIN


def test_the_secret_is_not_shown():
    key = FileKey.new(key=KEY)
    assert key.secret.hex() not in repr(key)
    assert repr(key.secret) not in repr(key)


@pytest.mark.parametrize("options", [{"key": KEY}, {"passphrase": WORDS}])
def test_every_changed_bit_is_found(options):
    data = encrypt(PLAIN, FileKey.new(**options))
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            expected = DamagedError if place < HEADER_BYTES else AuthenticationError
            with pytest.raises(expected):
                decrypt(bytes(changed), **options)


@given(place=st.integers(0, HEADER_BYTES - 5), value=st.integers(0, 255), options=st.sampled_from([0, 1]))
def test_a_header_changed_on_purpose_does_not_authenticate(place, value, options):
    """Its checksum is mended, as somebody would who wants other parameters."""
    chosen = [{"key": KEY}, {"passphrase": WORDS}][options]
    data = bytearray(encrypt(PLAIN, FileKey.new(**chosen)))
    if data[place] == value:
        return
    data[place] = value
    data[FIELDS.size : HEADER_BYTES] = struct.pack("<I", zlib.crc32(data[: FIELDS.size]))
    if place in range(10, 14) and int.from_bytes(data[10:14], "little") > 1 << 14:
        return  # allowed, but not quick
    with pytest.raises((DamagedError, AuthenticationError, KeyMismatchError)):
        decrypt(bytes(data), **chosen)


@given(data=st.binary(max_size=200), magic=st.booleans())
def test_any_bytes_raise_a_typed_error(data, magic):
    with pytest.raises(DamagedError):
        decrypt((encryption.MAGIC if magic else b"") + data, key=KEY)


def test_a_file_cut_short_or_added_to():
    data = encrypt(PLAIN, FileKey.new(key=KEY))
    for length in range(len(data)):
        with pytest.raises(DamagedError, match="cut short"):
            decrypt(data[:length], key=KEY)
    with pytest.raises(DamagedError, match="added to"):
        decrypt(data + b"\0", key=KEY)
    with pytest.raises(DamagedError, match="expected 3 bytes"):
        decrypt(Header(encryption.HKDF, Cost(0, 0, 0), bytes(16), bytes(12), 3).packed() + b"abc", key=KEY)


@pytest.mark.parametrize(
    "cost",
    [
        Cost(100 << 20, 1, 1),
        Cost((1 << 32) - 1, 1, 1),
        Cost((1 << 20) + 1, 1, 1),
        Cost(1 << 20, 5, 4),
        Cost(64, (1 << 32) - 1, 1),
        Cost(64, 17, 1),
        Cost(1 << 20, 1, 17),
        Cost(64, 0, 1),
        Cost(64, 1, 0),
        Cost(0, 0, 0),
        Cost(31, 1, 4),
    ],
)
def test_a_header_that_asks_for_too_much(cost, monkeypatch):
    monkeypatch.setattr(encryption, "_stretched", lambda *args: pytest.fail("a key was derived"))
    data = Header(encryption.ARGON2ID, cost, bytes(16), bytes(12), 20).packed() + bytes(20)
    with pytest.raises(DamagedError, match="its header asks for"):
        decrypt(data, passphrase=WORDS)


def test_headers_of_other_kinds():
    def header(version: int, derivation: int, cost: Cost) -> bytes:
        fields = FIELDS.pack(encryption.MAGIC, version, derivation, *cost, bytes(16), bytes(12), 20)
        return fields + struct.pack("<I", zlib.crc32(fields)) + bytes(20)

    for data, reason in (
        (header(2, 1, Cost(0, 0, 0)), "version 2, expected 1"),
        (header(1, 7, Cost(0, 0, 0)), "key derivation 7"),
        (header(1, 1, Cost(1, 0, 0)), "key derivation 1"),
    ):
        with pytest.raises(DamagedError, match=reason):
            decrypt(data, key=KEY)


def test_wrong_and_missing_keys():
    with_words, with_key = encrypt(PLAIN, FileKey.new(passphrase=WORDS)), encrypt(PLAIN, FileKey.new(key=KEY))
    with pytest.raises(AuthenticationError, match="the passphrase is wrong, or the file was changed"):
        decrypt(with_words, passphrase="Correct horse")
    with pytest.raises(AuthenticationError, match="the key is wrong, or the file was changed"):
        decrypt(with_key, key=bytes(32))
    for data, options, reason in (
        (with_words, {}, "encrypted with a passphrase: expected that, got none"),
        (with_key, {}, "encrypted with a key: expected that, got none"),
        (with_words, {"key": KEY}, "with a passphrase, got a key"),
        (with_key, {"passphrase": WORDS}, "with a key, got a passphrase"),
        (with_key, {"passphrase": WORDS, "key": KEY}, "got a passphrase and a key"),
    ):
        with pytest.raises(KeyMismatchError, match=reason):
            decrypt(data, **options)


def test_new_keys_that_cannot_be():
    for options in ({}, {"passphrase": WORDS, "key": KEY}):
        with pytest.raises(KeyMismatchError, match="expected a passphrase or a key"):
            FileKey.new(**options)
    with pytest.raises(EncryptionError, match="at least 8 characters, got 7"):
        FileKey.new(passphrase="seven..")
    for key in (b"", bytes(31), bytes(33), "a" * 32):
        with pytest.raises(EncryptionError, match="key: expected 32 bytes"):
            FileKey.new(key=key)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    data = encrypt(PLAIN, FileKey.new(key=KEY))
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for work in (lambda: FileKey.new(passphrase=WORDS), lambda: decrypt(data, key=KEY)):
        with pytest.raises(ImportError, match=r"cascade-faces\[encryption\]"):
            work()


@pytest.mark.parametrize("words", [b"correct horse", list("correct horse"), 12345678, True])
def test_a_passphrase_that_is_no_text_is_refused(words):
    with pytest.raises(EncryptionError, match=f"^passphrase: expected str, got {type(words).__name__}$"):
        FileKey.new(passphrase=words)
    data = encrypt(PLAIN, FileKey.new(passphrase=WORDS))
    with pytest.raises(EncryptionError, match=r"^passphrase: expected str"):
        decrypt(data, passphrase=words)
