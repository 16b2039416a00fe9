"""Draws the dashboards with Grafana's own library, so that their JSON is what Grafana reads."""

import json
from collections.abc import Mapping
from itertools import count
from string import ascii_uppercase
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import StackingConfig
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef

from deploy.grafana.shapes import Board, Panel

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH: Final = 24
_IN_A_ROW: Final = 4


def document(board: Board) -> str:
    """The JSON of a dashboard."""
    made = (
        dashboard.Dashboard(f"Tallygate / {board.title}")
        .uid(f"tallygate-{board.name}")
        .tags(["tallygate"])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .readonly()
        .with_variable(
            dashboard.DatasourceVariable("datasource").type("prometheus").label("Source")
        )
        .link(
            dashboard.DashboardLink("Tallygate")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["tallygate"])
            .as_dropdown(True)
        )
    )
    ids = count(1)
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title).id(next(ids)))
        for each in row.panels:
            made = made.with_panel(_drawn(each, min(len(row.panels), _IN_A_ROW)).id(next(ids)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _drawn(panel: Panel, in_a_row: int) -> Any:
    """A builder of the library; its kinds have no common one that says what they can."""
    made: Any = _KINDS[panel.kind]()
    if panel.kind == "stack":
        made = made.stacking(StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30)
    made = made.title(panel.title).description(panel.why).datasource(_SOURCE).unit(panel.unit)
    made = made.height(5 if panel.kind == "stat" else 8).span(_WIDTH // in_a_row)
    for name, (expr, legend) in zip(ascii_uppercase, panel.queries, strict=False):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(name)
        made = made.with_target(query if panel.kind in {"lines", "stack"} else query.instant())
    return made


_KINDS: Final[Mapping[str, Any]] = {
    "stat": stat.Panel,
    "lines": timeseries.Panel,
    "stack": timeseries.Panel,
    "bars": bargauge.Panel,
}
