"""What can be wrong with the input of a bulk run, as one line for the operator."""

from hub.errors import UsageProblem


class ClearingInputError(UsageProblem):
    """A file of records cannot be used; the text names the file and, where there is one, the column."""
