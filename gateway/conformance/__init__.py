"""The conformance kit: asks an agent as the gateway would, and says where it goes wrong."""
