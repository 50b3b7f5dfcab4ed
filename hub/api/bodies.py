"""Read a request's body within a bound, whatever its headers say. I/O: HTTP."""

from fastapi import Request

from hub.errors import TanlianError


class BodyTooLarge(TanlianError):
    """The body is larger than this address takes."""


async def read_bounded(request: Request, most: int) -> bytes:
    """Return the whole body, or raise BodyTooLarge as soon as it is longer than `most` bytes."""
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > most:
            raise BodyTooLarge(f"the body is larger than {most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
