"""Add up the sums of all seeds: ``total.py OUTPUT INPUT...``. Needs only Python itself."""

import json
import sys
from pathlib import Path

output, *inputs = map(Path, sys.argv[1:])
sums = [json.loads(path.read_text())["sum"] for path in inputs]
total = sum(sums)

print(f"{len(sums)} files, total {total!r}", file=sys.stderr)
output.write_text(f"{total!r}\n")
