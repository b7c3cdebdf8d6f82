"""Selectors over sentence embeddings. What computes is imported when a selector is used."""

from __future__ import annotations

from rt_diversity.settings import ClusterSettings, FacilitySettings, KCenterSettings
from rt_framework import hookimpl
from rt_framework.hookspecs import Register

RT_PLUGIN_API = (2, 0)


@hookimpl
def rt_register_selectors(register: Register) -> None:
    """Offer ``facility-location``, ``k-center`` and ``cluster-stratified``."""
    register(
        "facility-location",
        "rt_diversity.selectors:FacilityLocation",
        help="the samples that represent the best by a metric (Superfiltering.D)",
        settings=FacilitySettings,
    )
    register(
        "k-center",
        "rt_diversity.selectors:KCenter",
        help="samples that cover the data set: every other sample is near one of them",
        settings=KCenterSettings,
    )
    register(
        "cluster-stratified",
        "rt_diversity.selectors:ClusterStratified",
        help="the best samples of each k-means cluster, by a metric",
        settings=ClusterSettings,
    )
