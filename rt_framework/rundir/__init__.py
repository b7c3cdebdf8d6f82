"""A run directory: lock, session, frozen facts, progress, outputs, manifest, summary."""

from rt_framework.rundir import live_state
from rt_framework.rundir.directory import (
    LEDGER,
    LOCK,
    MANIFEST,
    MERGING,
    OWNER,
    PILOT,
    SCORES,
    alone,
    check_frozen,
    check_run,
    default_dir,
    differences,
    is_place,
    look,
    open_run,
    owner,
    pilot_dir,
)
from rt_framework.rundir.disk import room
from rt_framework.rundir.elsewhere import check_elsewhere, looking_elsewhere
from rt_framework.rundir.manifest import (
    manifest_destination,
    plain_config,
    read_config_of,
    read_manifest,
    versions,
    write_manifest,
)
from rt_framework.rundir.outlet import Outlet, open_outlet, write_parts
from rt_framework.rundir.outputs import claim_outputs, endings, unread_reason, write_outputs, write_side_file
from rt_framework.rundir.pace import MeteredStage
from rt_framework.rundir.progress import Meter, SampleCounter
from rt_framework.rundir.provenance import fallbacks_in_words, origins_in_words, teachers_in
from rt_framework.rundir.session import Opening, Session, in_session
from rt_framework.rundir.stages import StageFacts, label_of, stages_of
from rt_framework.rundir.summary import summarise, unread_in_words, with_unread

__all__ = [
    "LEDGER",
    "LOCK",
    "MANIFEST",
    "MERGING",
    "OWNER",
    "PILOT",
    "SCORES",
    "Meter",
    "MeteredStage",
    "Opening",
    "Outlet",
    "SampleCounter",
    "Session",
    "StageFacts",
    "alone",
    "check_elsewhere",
    "check_frozen",
    "check_run",
    "claim_outputs",
    "default_dir",
    "differences",
    "endings",
    "fallbacks_in_words",
    "in_session",
    "is_place",
    "label_of",
    "live_state",
    "look",
    "looking_elsewhere",
    "manifest_destination",
    "open_outlet",
    "open_run",
    "origins_in_words",
    "owner",
    "pilot_dir",
    "plain_config",
    "read_config_of",
    "read_manifest",
    "room",
    "stages_of",
    "summarise",
    "teachers_in",
    "unread_in_words",
    "unread_reason",
    "versions",
    "with_unread",
    "write_manifest",
    "write_outputs",
    "write_parts",
    "write_side_file",
]
