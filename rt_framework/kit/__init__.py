"""Helpers for authors of plugins, one module for each subject."""
