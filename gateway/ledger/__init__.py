"""The ledger: every change of a message's state is one of five verbs, and commits once."""

from gateway.ledger.batcher import Ledger, Unavailable

__all__ = ["Ledger", "Unavailable"]
