"""Built-in reflections."""
