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
        help="of the best by a metric those that stand for the others (Superfiltering.D)",
        settings=FacilitySettings,
    )
    register(
        "k-center",
        "rt_diversity.selectors:KCenter",
        help="samples from which no other is far",
        settings=KCenterSettings,
    )
    register(
        "cluster-stratified",
        "rt_diversity.selectors:ClusterStratified",
        help="the best by a metric of each k-means cluster",
        settings=ClusterSettings,
    )
