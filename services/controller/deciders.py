"""Who decided: the controller, or a person by his own word and by the certificate that the call came with; pure.

`decided_by` is what the caller writes, and whoever has CONTROL_TOKEN may call. So nobody can call himself what the
controller calls itself, whose decisions are a ramp's to change; and where callers have certificates their name is kept.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from services.controller.checks import CONTROL, MAX_LABEL_CHARACTERS, invalid, label

CONTROLLER: Final = "controller"
"""Who decided, where nobody did in person."""
BY: Final = "(certificate "
SUBJECTS: Final = ("x509_common_name", "x509_subject_alternative_name")
"""Under which names gRPC tells whose certificate a caller has shown, the more telling first."""


def decider(said: str, identity: Mapping[str, Sequence[bytes]]) -> str:
    """Who decided, as it is recorded. `identity` as a call's `auth_context()` has it, empty without a certificate.

    Raises Rejected where `said` is missing, or is what only the controller may write.
    """
    name = label("decided_by", said)
    plain = unicodedata.normalize("NFKC", name).casefold()
    if plain == CONTROLLER or BY in plain:
        raise invalid("decided_by", f"{name[:64]!r} is what the controller itself writes: give a person's name")
    subject = next((found[0] for one in SUBJECTS if (found := identity.get(one))), b"").decode(errors="replace")
    return f"{name} {BY}{CONTROL.sub('?', subject)[:MAX_LABEL_CHARACTERS]})" if subject else name
