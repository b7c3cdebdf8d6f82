"""Trains small on what a run kept and on its controls, and compares: the command ``rt prove``."""
