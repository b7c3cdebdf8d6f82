"""Built-in formats."""
