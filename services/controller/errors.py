"""How a run, or a call, ends without success."""


class Refused(Exception):  # noqa: N818 - it says what happened to the run, not what broke
    """The run cannot go on, and trying again would not help. The text is for people: what to change."""
