"""`python -m deploy.grafana`: write the dashboards anew."""

from pathlib import Path

from deploy.grafana.boards import BOARDS
from deploy.grafana.drawing import document

for board in BOARDS:
    Path(__file__).with_name(f"{board.name}.json").write_text(document(board))
