"""Failures of the world, named by what the caller should do. Outcomes of rules are values, not these."""


class TanlianError(Exception):
    """Base of what the command line and the API turn into one clear line; the text never holds a secret or a name."""


class UsageProblem(TanlianError):
    """The caller asked for something that cannot be; asking again unchanged will not help."""


class NotFound(UsageProblem):
    """The thing named does not exist, or is not the caller's to see."""


class Conflict(UsageProblem):
    """The same key was used before with other content, or a state does not allow the step."""


class NotAdmitted(TanlianError):
    """The participant is none, or is not active; both get the same answer."""


class Busy(TanlianError):
    """Somebody else holds the thing; the same call may succeed later, in about `retry_after_s` seconds."""

    retry_after_s = 5


class IntegrityBroken(TanlianError):
    """The database says something that cannot be true; stop and run `tanlian audit`."""
