"""Build the wheel, install it into each Python that ``pyproject.toml`` names and that is here, and see it work.

As most users have it: no extras, no test tools, nothing of the tree on the path.  Every module is imported and the demo
registers and calls, with each warning an error, so that what a newer Python took away, or says it will, is seen.
``make check`` asks the type checker the same about what no demo runs; ``make test-python`` runs the tests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = "import sys; from hatchling import build; print(build.build_wheel(sys.argv[1]))"
IMPORT_ALL = """
import importlib, pkgutil, sipcli, sipcli_providers
for top in (sipcli, sipcli_providers):
    for module in pkgutil.walk_packages(top.__path__, top.__name__ + "."):
        try:
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name not in ("aioice", "wsproto"):  # of extras: those who import these modules look for them first
                raise
"""


def main() -> int:
    """1 if sipcli does not work somewhere.  A Python that is not here is named, and no fault."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="sipcli-try-") as made:
        built = subprocess.run([sys.executable, "-c", BUILD, made], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        wheel = Path(made, built.stdout.decode().split()[-1])
        for version in named_versions():
            if (python := find_python(version)) is None:
                print(f"Python {version}: not on this machine")
            elif reason := why_not(python, wheel):
                print(f"Python {version}: FAILED\n{reason}")
                failed.append(version)
            else:
                print(f"Python {version}: the wheel works ({python})")
    return 1 if failed else 0


def named_versions() -> list[str]:
    """The versions of the classifiers: ``["3.11", "3.12", ...]``."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    return re.findall(r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(classifiers), re.MULTILINE)


def find_python(version: str) -> str | None:
    """The path of Python *version*.  A shim of pyenv is on the path also where it leads nowhere, so each is tried."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def why_not(python: str, wheel: Path) -> str | None:
    """What the first step said that failed with *python*; None when all went well."""
    place = wheel.parent / f"{wheel.stem}-{len(list(wheel.parent.iterdir()))}"
    theirs = str(place / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", theirs, "install", "--quiet"]
    strict = [theirs, "-X", "dev", "-W", "error"]
    environment = {"HOME": str(place), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    for command, environ in (
        ([python, "-m", "venv", "--without-pip", str(place)], os.environ),
        ([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], os.environ),
        ([*strict, "-c", IMPORT_ALL], environment),
        ([*strict, "-m", "sipcli", "demo"], environment),
    ):
        done = subprocess.run(
            command,
            cwd=wheel.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode:
            return f"{done.stdout}{done.stderr}"
    return None


if __name__ == "__main__":
    sys.exit(main())
