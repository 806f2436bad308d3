"""The operator's console: pages inside Django's admin that show and mend every state."""
