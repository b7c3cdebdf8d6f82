"""Exports of a finished run: packs for trainers, preference pairs, the folder for the Hugging Face hub, its card."""

from rt_framework.export.hub import export_hub
from rt_framework.export.packs import export_pack

__all__ = ["export_hub", "export_pack"]
