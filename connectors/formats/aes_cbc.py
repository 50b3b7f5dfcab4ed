"""AES-128-CBC with PKCS#7 padding, as T/CEC 102 and WeChat fix it. Pure.

CBC proves nothing about who wrote the text: T/CEC signs beside it, and WeChat's is bound by the session key and the
watermark. One error for every way to fail, so that an answer cannot tell bad padding from a bad key.
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

BLOCK_BYTES = 16
_BLOCK_BITS = 128


class UndecryptableError(ValueError):
    """Wrong length, wrong key or wrong padding."""


def encrypt(text: bytes, *, key: bytes, iv: bytes) -> bytes:
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(AES128(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(text) + padder.finalize()) + encryptor.finalize()


def decrypt(data: bytes, *, key: bytes, iv: bytes) -> bytes:
    if not data or len(data) % BLOCK_BYTES or len(key) != BLOCK_BYTES or len(iv) != BLOCK_BYTES:
        raise UndecryptableError
    decryptor = Cipher(AES128(key), CBC(iv)).decryptor()
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    try:
        return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise UndecryptableError from None
