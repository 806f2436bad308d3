"""The OpenAI-compatible entrance: /v1 for programs, into the same sessions, rules and ledger."""

CHANNEL = "openai"
"""The channel whose entrance this is; its adapter stands in adapters/openai.py."""
