"""``longvt check-data FILE ...``: what is wrong with rows before a run meets them, and what they look like."""

from __future__ import annotations

import argparse
from pathlib import Path

from longvt_plugins.datasets.check import Report, check_file

from . import Outcome

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="parquet: RL rows or SFT chains")
    parser.add_argument("--root", default="", help="folder of the media (data.longvt.video_root, data_folder)")
    parser.add_argument("--no-media", action="store_true", help="do not look at the media files")
    parser.add_argument("--samples", type=int, default=3, help="rows of each file to describe (default 3)")


def run(args: argparse.Namespace) -> Outcome:
    """Check each file.

    Raises:
        DataError: a file that is no parquet, has no rows, or holds other columns.
    """
    reports = [check_file(path, args.root, not args.no_media, args.samples) for path in args.files]
    return Outcome(
        ok=not any(report.findings for report in reports),
        text="\n\n".join(map(_text, reports)),
        data={"files": [_data(report) for report in reports]},
    )


def _text(report: Report) -> str:
    media = ", ".join(f"{count} {kind}" for kind, count in sorted(report.media.items()) if count) or "no media"
    lines = [f"{report.path}: {report.rows} {report.kind} rows, {media}"]
    lines += [f"  {sample}" for sample in report.samples]
    if report.findings:
        lines.append(f"{len(report.findings)} problems in {report.bad_rows} rows:")
        lines += [f"  {finding}" for finding in report.findings[:SHOWN]]
        if len(report.findings) > SHOWN:
            lines.append(f"  ... and {len(report.findings) - SHOWN} more (all of them with --json)")
    else:
        lines.append("no problem found")
    return "\n".join(lines)


def _data(report: Report) -> dict:
    return {
        "path": report.path,
        "kind": report.kind,
        "rows": report.rows,
        "bad_rows": report.bad_rows,
        "media": dict(report.media),
        "problems": [{"row": f.row, "id": f.id, **vars(f.problem)} for f in report.findings],
        "samples": report.samples,
    }
