"""What was measured, round by round, and how it is shown: medians with their spread, and ratios of the same round."""

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PEER, OURS = "peer", "ours"


@dataclass
class Row:
    """One measure at one size: samples by side. `higher` says that more is better; the ratio is how much better we are."""

    what: str
    size: int
    unit: str
    higher: bool = False
    samples: dict[str, list[float]] = field(default_factory=lambda: {PEER: [], OURS: []})

    def ratios(self) -> list[float]:
        pairs = zip(self.samples[PEER], self.samples[OURS], strict=False)
        return [ours / peer if self.higher else peer / ours for peer, ours in pairs if peer and ours]


@dataclass
class Results:
    """All rows of a run, in the order in which they were first measured."""

    title: str
    name: str
    peer: str = "slapos.core"
    ours: str = "this project"
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, side: str, what: str, size: int, unit: str, value: float, higher: bool = False) -> None:
        row = self.rows.setdefault((what, size), Row(what, size, unit, higher))
        row.samples[side].append(value)
        print(f"  {side:5} {what} (N={size}): {_number(value)} {unit}", file=sys.stderr, flush=True)

    def keep(self, folder: Path) -> None:
        """Leave the table and the samples in a folder."""
        (folder / f"{self.name}.md").write_text(self.markdown())
        (folder / f"{self.name}.json").write_text(json.dumps(self.document(), indent=1) + "\n")

    def markdown(self) -> str:
        head = f"| what | N | unit | {self.peer} | {self.ours} | ratio min / median / max | rounds |"
        lines = [f"### {self.title}", "", head, "| --- | --: | --- | --: | --: | --: | --: |"]
        lines += [_line(row) for row in self.rows.values()]
        return "\n".join([*lines, "", *(f"- {note}" for note in [*self.notes, _machine()]), ""])

    def document(self) -> dict[str, object]:
        rows = [
            {"what": row.what, "n": row.size, "unit": row.unit, **row.samples, "ratios": row.ratios()}
            for row in self.rows.values()
        ]
        return {"title": self.title, "command": _command(), "machine": _machine(), "notes": self.notes, "rows": rows}


def deliver(name: str, kept: Path, json_file: Path | None, document: Path | None) -> None:
    """Print the table that was kept; put samples and table where they are wanted."""
    if not (kept / f"{name}.md").exists():
        return
    table = (kept / f"{name}.md").read_text()
    print(table)
    if json_file:
        shutil.copyfile(kept / f"{name}.json", json_file)
    if document:
        document.write_text(_spliced(document.read_text(), name, table))


def _spliced(text: str, name: str, table: str) -> str:
    """A document with a new table between the two marks of a benchmark; at its end when it has no marks yet."""
    begin, end = f"<!-- begin bench/{name} -->", f"<!-- end bench/{name} -->"
    before, found, rest = text.partition(begin)
    if not found:
        return f"{text.rstrip()}\n\n{begin}\n{table}{end}\n"
    return f"{before}{begin}\n{table}{end}{rest.partition(end)[2]}"


def _line(row: Row) -> str:
    peer, ours = _spread(row.samples[PEER]), _spread(row.samples[OURS])
    ratios = row.ratios()
    ratio = " / ".join(_number(number) for number in (min(ratios), median(ratios), max(ratios))) if ratios else "-"
    rounds = max(map(len, row.samples.values()))
    return f"| {row.what} | {row.size} | {row.unit} | {peer} | {ours} | {ratio} | {rounds} |"


def _spread(samples: Iterable[float]) -> str:
    values = sorted(samples)
    if not values:
        return "-"
    middle = _number(median(values))
    return middle if len(values) == 1 else f"{middle} ({_number(values[0])} to {_number(values[-1])})"


def _number(value: float) -> str:
    """Three digits are all that such measurements are good for."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _command() -> str:
    return " ".join(["bench/" + Path(sys.argv[0]).name, *sys.argv[1:]])


def _machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return f"`{_command()}` on {os.cpu_count()} x {model}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"
