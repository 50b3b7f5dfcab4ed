"""What counterparts of the sandbox share: the secrets of its platforms, and AES as public libraries do it."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from hub.sandbox.config import secrets_of

SECRETS = secrets_of(7)


def open_aes(key: bytes, initial: bytes, data: bytes) -> bytes:
    opener, unpadder = Cipher(algorithms.AES(key), modes.CBC(initial)).decryptor(), PKCS7(128).unpadder()
    return unpadder.update(opener.update(data) + opener.finalize()) + unpadder.finalize()
