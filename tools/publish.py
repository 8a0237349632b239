"""Make a leaderboard with everything that belongs to it, by one command.

    python tools/publish.py --suite bcro --corpora DIR --seeds 10 --out results/leaderboards/bcro

Runs what is not stored yet, then writes into `--out` what users make with the same commands one by
one: `leaderboard.md`, `.tex`, `.csv`; `comparison.md`; `figures/` as PNG, SVG and PDF; and `site/`
(open `site/index.html`), which holds the provenance cards for `clser-bench reproduce`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

TABLES = (("md", "leaderboard.md"), ("latex", "leaderboard.tex"), ("csv", "leaderboard.csv"))
COMMENTS = {"md": ("<!-- ", " -->\n\n"), "latex": ("% ", "\n")}


def call(*words: str) -> str:
    """Run a command of clser-bench; its standard output.

    Args:
        words: after `clser-bench`.

    Raises:
        SystemExit: it failed, and has said why; 1 of `run` (some trials failed) goes on.
    """
    print("clser-bench", shlex.join(words), file=sys.stderr, flush=True)
    done = subprocess.run(  # noqa: S603 (our own module, with the words above)
        [sys.executable, "-m", "clser_bench.cli.main", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in ((0, 1) if words[0] == "run" else (0,)):
        raise SystemExit(done.returncode)
    return done.stdout


def publish(arguments: argparse.Namespace, *, command: str) -> None:
    """Run what is missing and write all files."""
    results = ["--results", str(arguments.results)]
    table = [
        *("--suite", arguments.suite, "--features", arguments.features),
        *("--normalise", arguments.normalise, "--selection", "default"),
    ]
    corpora = ["--corpora", str(arguments.corpora)] if arguments.corpora else []
    call(
        *("run", "--suite", arguments.suite, *corpora, "--methods", arguments.methods),
        *("--features", arguments.features, "--normalise", arguments.normalise),
        *("--shots", arguments.shots, "--seeds", str(arguments.seeds), "--format", "csv", *results),
    )
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for kind, name in TABLES:
        before, after = COMMENTS.get(kind, ("", ""))
        head = f"{before}{command}{after}" if before else ""
        text = call("leaderboard", *table, "--with", "time", "--format", kind, *results)
        (out / name).write_text(head + text, encoding="utf-8")
    head = "{}{}{}".format(COMMENTS["md"][0], command, COMMENTS["md"][1])
    text = call("compare", *table, "--format", "md", *results)
    (out / "comparison.md").write_text(head + text, encoding="utf-8")
    call("figures", str(out / "figures"), *table, "--formats", "png,svg,pdf", *results)
    call("leaderboard", *table, "--html", str(out / "site"), *results)


def main() -> None:
    """Read the options and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--suite", default="bcro")
    parser.add_argument("--corpora", type=Path, default=os.environ.get("CLSER_CORPORA") or None)
    parser.add_argument("--methods", default="all")
    parser.add_argument("--features", default="egemaps")
    parser.add_argument("--normalise", default="speaker")
    parser.add_argument("--shots", default="5,all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=Path("results/clser.sqlite"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    publish(arguments, command=shown_command(sys.argv[1:]))


def shown_command(words: list[str]) -> str:
    """The command without the places of this machine."""
    shown = ["python", "tools/publish.py"]
    places = {"--corpora": "DIR", "--results": "FILE"}
    for before, word in zip(["", *words], words, strict=False):
        shown.append(places.get(before, word))
    return shlex.join(shown)


if __name__ == "__main__":
    main()
