"""The error that is a message to the user."""


class UserError(ValueError):
    """Something that the user can mend: what was received and what to do, in one line.

    Commands print it and end with status 2. Every other error is a defect of the program and keeps its traceback.
    """
