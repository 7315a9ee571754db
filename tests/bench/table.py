"""One table of what the benches have left, as Markdown and as JSON: bench.md and bench.json beside their files. Prints the table.

Usage: table.py <folder> <bench> ...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HEAD = "| Bench | Median of | Ours | Beside | Ratio | Pairs |\n| --- | --- | ---: | ---: | ---: | ---: |"


def number(value):
    """Three digits are enough; whole numbers are counts."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.3g}".removesuffix(".")


def line(bench, figure):
    what = f"{figure['what']}, {figure['unit']}" + (f" ({figure['remarks']})" if figure["remarks"] else "")
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
    cells = [bench, what, number(figure["medians"]["ours"]), number(figure["medians"]["beside"]), ratio, str(figure["pairs"])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(found):
    """The text for {bench: what it has left}; a bench that has left nothing is None."""
    rows = [line(bench, figure) for bench, left in found.items() if left for figure in left["figures"]]
    notes = [f"- `{bench}`, beside {left['beside']}: {left['remarks']} {left['machine']}." for bench, left in found.items() if left]
    missing = [f"- `{bench}` has left nothing: it did not come to its end." for bench, left in found.items() if not left]
    return "\n".join([HEAD, *rows, "", "A ratio below 1 means that ours is less.", "", *notes, *missing]) + "\n"


def read(folder, benches):
    return {bench: json.loads(file.read_text()) if (file := Path(folder, f"{bench}.json")).exists() else None for bench in benches}


def main(folder, *benches):
    found = read(folder, benches)
    text = table(found)
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    Path(folder, "bench.md").write_text(text)
    print(text, end="")
    sys.exit(0 if all(found.values()) else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
