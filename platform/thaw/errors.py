"""What a user can mend, and nothing else.

Every message says where, what came, what is allowed and what to do. Such an error ends a command with
exit code 2 and no traceback; any other exception is a fault of Thaw and keeps its traceback.
"""


class ThawError(Exception):
    """Something in the user's hands is wrong, and the message says how to put it right."""


class ConfigError(ThawError):
    """An experiment, an override or a command-line option is not valid."""


class LossError(ConfigError):
    """The loss of a training is no longer a finite number: the rates of its plan are too high."""


class DataError(ThawError):
    """Images, labels or a prepared dataset cannot be used as they are."""


class ModelError(ThawError):
    """A backbone, its weights or a bundle cannot be used as asked."""


class StorageError(ThawError):
    """A storage location, stored version or alias cannot be read or written."""


class ClusterError(ThawError):
    """The Ray cluster cannot run what was asked of it."""
