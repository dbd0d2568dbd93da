"""The ledger's audit: what was answered, what Kafka and ClickHouse have of it, and what is in the dead letters."""

from services.audit.arithmetic import Account, Audit, Look, audit, settled
from services.audit.asking import look
from services.audit.taking import take

__all__ = ["Account", "Audit", "Look", "audit", "look", "settled", "take"]
