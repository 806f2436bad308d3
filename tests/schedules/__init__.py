"""Planned sends: when, what, and that they always fire."""
