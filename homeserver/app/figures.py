"""What the process tells monitoring about itself, beside the HTTP figures.

Everything is read when it is asked for; nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from homeserver.runtime.bounded_cache import BoundedCache
from homeserver.runtime.metrics import Metrics
from homeserver.services.sync.hub import SyncHub


def register_figures(metrics: Metrics, hub: SyncHub, caches: Iterable[BoundedCache[Any, Any]]) -> None:
    """Offer the figures of sync and of the caches."""
    metrics.gauge_of("log_position", "Position of the newest change of the log.", lambda: hub.position)
    metrics.gauge_of("syncing_users", "Users with a client that synced lately.", hub.watching)
    for cache in caches:
        _register_cache(metrics, cache)


def _register_cache(metrics: Metrics, cache: BoundedCache[Any, Any]) -> None:
    name = f"cache_{cache.name}"
    metrics.gauge_of(f"{name}_entries", f"Entries of the cache {cache.name}.", cache.__len__)
    metrics.gauge_of(f"{name}_hits", f"Look-ups the cache {cache.name} could answer.", lambda: cache.hits)
    metrics.gauge_of(f"{name}_misses", f"Look-ups the cache {cache.name} could not.", lambda: cache.misses)
