"""A run directory: lock, frozen facts, outputs, manifest, summary, heartbeat."""

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
    freeze,
    look,
    open_run,
    owner,
    pilot_dir,
    remember_run,
)
from rt_framework.rundir.disk import room
from rt_framework.rundir.live_state import heartbeat
from rt_framework.rundir.manifest import (
    manifest_destination,
    plain_config,
    read_config_of,
    read_manifest,
    versions,
    write_manifest,
)
from rt_framework.rundir.outlet import Outlet, open_outlet, write_parts
from rt_framework.rundir.outputs import (
    Finished,
    claim_outputs,
    export,
    finished,
    results,
    write_outputs,
    write_side_file,
)
from rt_framework.rundir.provenance import origins_in_words
from rt_framework.rundir.stalls import watchdog
from rt_framework.rundir.summary import summarise

__all__ = [
    "LEDGER",
    "LOCK",
    "MANIFEST",
    "MERGING",
    "OWNER",
    "PILOT",
    "SCORES",
    "Finished",
    "Outlet",
    "alone",
    "check_frozen",
    "check_run",
    "claim_outputs",
    "default_dir",
    "differences",
    "export",
    "finished",
    "freeze",
    "heartbeat",
    "live_state",
    "look",
    "manifest_destination",
    "open_outlet",
    "open_run",
    "origins_in_words",
    "owner",
    "pilot_dir",
    "plain_config",
    "read_config_of",
    "read_manifest",
    "remember_run",
    "results",
    "room",
    "summarise",
    "versions",
    "watchdog",
    "write_manifest",
    "write_outputs",
    "write_parts",
    "write_side_file",
]
