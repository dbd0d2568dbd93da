"""Early stopping: when the held-out loss has stopped falling, and which weights are kept; pure."""

import math
from dataclasses import dataclass


@dataclass
class Patience:
    """The lowest held-out loss so far, where it was, and how many evaluations have passed since."""

    best_loss: float | None = None  # nats a token
    best_step: int = 0
    worse: int = 0  # evaluations since, none of them lower

    def look(self, loss: float, step: int) -> bool:
        """Take a new loss in; whether it is the lowest yet, so that its weights are worth keeping."""
        if math.isnan(loss) or (self.best_loss is not None and loss >= self.best_loss):
            self.worse += 1
            return False
        self.best_loss, self.best_step, self.worse = loss, step, 0
        return True

    def spent(self, patience: int | None) -> bool:
        """Whether the run ends here."""
        return patience is not None and self.worse >= patience

    def told(self, step: int, patience: int | None) -> str:
        """What the report says of a run that ended at `step`; empty where nobody asked for early stopping."""
        if patience is None or self.best_loss is None:
            return ""
        kept = f"the weights of step {self.best_step} are kept, whose held-out loss was {self.best_loss:.4f}"
        if self.spent(patience):
            return f"stopped at step {step}: no lower held-out loss in {patience} evaluations; {kept}"
        return f"not stopped early until step {step}, its last; {kept}"
