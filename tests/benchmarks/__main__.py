"""Export one atlas with us and with our peers, in turns, and print what each took."""

from __future__ import annotations

import argparse
import functools
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.benchmarks.data import STORAGES, dataset
from tests.benchmarks.measure import Measurement, measure
from tests.benchmarks.profile import profile

PROJECT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"
IN_MEMORY = "cellucid==0.9.4"
CONTENDERS = ("ours", "unchecked", "floor", "naive", "in_memory")  # floor needs the sizes of ours
OTHERS = {"unchecked": "unchecked.py", "floor": "floor.py", "naive": "naive_dask.py"}  # need us

Figure = tuple[str, Callable[[Measurement], float], str]
FIGURES: tuple[Figure, ...] = (
    ("wall s", lambda run: run.wall, ".1f"),
    ("CPU s", lambda run: run.cpu, ".1f"),
    ("peak MB", lambda run: run.peak_memory / 1e6, ",.0f"),
    ("var/ MB", lambda run: run.output_bytes / 1e6, ",.1f"),
    ("objects", lambda run: run.output_objects, ",.0f"),
)


def main() -> None:
    options = _options()
    cache = options.cache.absolute()
    source = dataset(cache, options.cells, options.genes, options.storage)
    if options.profile:
        print(profile(source, cache))
        return
    # Disks create files slowly where many have just been deleted, so nothing is, until the end.
    outputs = Path(tempfile.mkdtemp(prefix="exports-", dir=options.output or cache))
    runs: dict[str, list[Measurement]] = {name: [] for name in options.only}
    for turn in range(options.repeat):
        for name in options.only:
            print(f"turn {turn + 1} of {options.repeat}: {name}", file=sys.stderr)
            target = outputs / f"{name}-{turn}"
            try:
                command = [*_command(name, source, target, cache)]
                command += [outputs / f"ours-{turn}"] if name == "floor" else []
                runs[name].append(measure(command, target))
            except RuntimeError as error:
                print(f"{name} failed: {error}", file=sys.stderr)
    shutil.rmtree(outputs)
    print(
        f"{options.cells:,} cells x {options.genes:,} genes, {options.storage}; "
        f"medians of {options.repeat}; Python {platform.python_version()}\n"
    )
    print(table(runs))


def table(runs: dict[str, list[Measurement]]) -> str:
    """Return medians as a markdown table, each with its ratio to the first contender's."""
    rows = [["", *(title for title, _, _ in FIGURES)], ["---"] + ["---:"] * len(FIGURES)]
    first = next(iter(runs.values()))
    for name, measurements in runs.items():
        row = [name]
        for _, figure, form in FIGURES:
            if not measurements:
                row.append("failed")
                continue
            value = statistics.median(map(figure, measurements))
            ours = statistics.median(map(figure, first)) if first else 0
            ratio = f" (x{value / ours:.2f})" if ours and measurements is not first else ""
            row.append(f"{value:{form}}{ratio}")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _command(name: str, source: Path, target: Path, cache: Path) -> Sequence[str | Path]:
    if name == "in_memory":
        python = _python_with(cache / IN_MEMORY.replace("==", "-"), IN_MEMORY)
        return python, PEERS / "in_memory.py", source, target
    python = _python_with(cache / "cellucid-dask", "--editable", PROJECT)
    if name in OTHERS:
        return python, PEERS / OTHERS[name], source, target
    return python, "-m", "cellucid_dask", "export", source, target, "--no-progress"


@functools.cache
def _python_with(environment: Path, *requirement: str | Path) -> Path:
    """Return the Python of an environment of one package and what it needs.

    What else is installed takes time to import: libraries look for each other.
    """
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([python, "-m", "pip", "install", "-qq", *requirement], check=True)
    return python


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--cells", type=int, default=200_000)
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--storage", choices=STORAGES, default="csr")
    parser.add_argument("--profile", action="store_true", help="time our stages instead")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", type=_contenders, default=CONTENDERS, metavar="A,B")
    parser.add_argument("--cache", type=Path, default=Path(".benchmarks"))
    parser.add_argument("--output", type=Path, help="folder for the exports (default the cache)")
    options = parser.parse_args()
    if options.only == CONTENDERS:
        unable = {"csr": (), "dense": ("floor",), "zarr": ("floor", "naive")}[options.storage]
        options.only = tuple(name for name in CONTENDERS if name not in unable)
    return options


def _contenders(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = set(names) - set(CONTENDERS)
    if unknown:
        raise argparse.ArgumentTypeError(f"choose among {', '.join(CONTENDERS)}")
    return names


if __name__ == "__main__":
    main()
