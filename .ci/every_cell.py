"""Fail unless a report holds every cell of its spec: `every_cell.py SPEC REPORT_FOLDER`."""

import json
import sys
from pathlib import Path

from suite.plan.cells import cells
from suite.spec.reading import load_spec

spec, folder = load_spec(Path(sys.argv[1])), Path(sys.argv[2])
wanted = {(cell.dataset, cell.optimizer, cell.seed) for cell in cells(spec)}
report = json.loads((folder / "report.json").read_text())
held = {
    (board["dataset"], standing["optimizer"], seed)
    for board in report["boards"]
    for standing in board["standings"]
    for seed in standing["seeds"]
    if standing["train_loss"]["mean"] is not None
}
page = (folder / "README.md").read_text()
missing = sorted(wanted - held) + [label for _, label, _ in sorted(wanted) if label not in page]
if missing:
    sys.exit(f"the report lacks {len(missing)} of {len(wanted)} cells: {missing}")
print(f"the report holds all {len(wanted)} cells")
