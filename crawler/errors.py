"""The mistakes a person can mend, each told in one line."""


class UserError(Exception):
    """A person's mistake; the message repeats what was given and says what is allowed.

    The command line prints it without a traceback and ends with exit code 1.
    """


class LockedError(UserError):
    """Another run is working on the same data folder."""


class SchemaVersionError(UserError):
    """A file was written by another version of the format."""
