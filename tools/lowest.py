"""Print the lowest versions that pyproject.toml admits, as constraints for pip.

python tools/lowest.py > lowest.txt && pip install --constraint lowest.txt .
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("demo", "opensmile", "video")
"""Those that tests need; `test` itself is taken as it is."""


def main() -> None:
    """Print a line for each dependency."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for wanted in (*project["dependencies"], *(name for extra in EXTRAS for name in extras[extra])):
        found = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", wanted)
        if found is None:
            raise SystemExit(f"{wanted}: no lowest version, such as name>=1.2")
        print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
