"""The needle task's films and rows: a brief digit in a long video, which only a crop of the right scene shows.

python -m data_prep.needle runs/needle [--size tiny|small|benchmark] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from longvt_plugins.tasks.needle import SIZES
from longvt_plugins.tasks.needle_files import write_needle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts = write_needle(args.folder, SIZES[args.size], args.seed)
    print(f"{', '.join(f'{count} questions in {split}' for split, count in counts.items())}: {args.folder}")


if __name__ == "__main__":
    main()
