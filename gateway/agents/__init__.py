"""Clients of agents, one module per protocol."""
