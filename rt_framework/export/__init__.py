"""Exports of a finished run: data files, packs for trainers, the folder for the Hugging Face hub."""

from rt_framework.export.files import export_file
from rt_framework.export.hub import export_hub
from rt_framework.export.pack_data import Readable
from rt_framework.export.pack_kinds import PACKS
from rt_framework.export.packs import export_data_pack, export_pack, samples

__all__ = ["PACKS", "Readable", "export_data_pack", "export_file", "export_hub", "export_pack", "samples"]
