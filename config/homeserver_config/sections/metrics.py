"""The section `metrics`: figures for Prometheus.
Served at /metrics by every listener with the resource `metrics`.
"""

from pydantic import Field

from homeserver_config.values import Section


class MetricsSettings(Section):
    """Figures for Prometheus, at /metrics of every listener with the resource metrics."""

    enabled: bool = Field(default=False, description="Whether figures are served.")
