"""The root of consent/'s own exceptions. Pure.

Each is named by what happened and means: nothing was changed. Its text holds no token, name, account or body.
"""


class ConsentError(Exception):
    """Something that consent/ will not or cannot do."""
