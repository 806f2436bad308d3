"""What answers websockets: one module per socket, and what they share."""
