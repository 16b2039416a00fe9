"""All dashboards."""

from typing import Final

from deploy.grafana.billing_boards import PIPELINE, USAGE
from deploy.grafana.proof_boards import CUSTOMERS, LIFECYCLE, QUALITY
from deploy.grafana.serving_boards import OVERVIEW, TRAFFIC

BOARDS: Final = (OVERVIEW, TRAFFIC, USAGE, PIPELINE, QUALITY, LIFECYCLE, CUSTOMERS)
