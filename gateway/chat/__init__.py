"""The web chat: who may use it, what they see of their conversations, and the page."""
