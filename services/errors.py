"""The two exceptions that decide a message's fate; anything else stops the process before the commit."""


class Overloaded(Exception):  # noqa: N818 - it names a state of the outside, not a fault of ours
    """An outside system can't take more now: pause the partition and try the same message again."""


class BadEvent(Exception):  # noqa: N818
    """The message can never be handled: send it to the dead letters with `reason`, count it, go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
