"""Replay: a past turn's question, put to an agent once more. Nothing of it is sent to anyone."""
