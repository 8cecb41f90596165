"""Packaging that depends on the files of this folder; all else is in pyproject.toml.

`kernels/` sits at the top of the repository and is installed as `torchprim.kernels`.
"""

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "torchprim" / "version.py").read_text()).group(1)
PACKAGES = ["torchprim", *("torchprim." + name for name in find_packages(ROOT / "torchprim"))]
KERNELS = ["torchprim.kernels", *("torchprim.kernels." + name for name in find_packages(ROOT / "kernels"))]
FOLDERS = {"torchprim": "torchprim", "torchprim.kernels": "kernels"}
if "editable_wheel" in sys.argv:  # `pip install -e .`
    # A path to the clone, which editors and type checkers follow; the hook that setuptools installs for two
    # folders they do not. `torchprim/__init__.py` finds the clone's kernels.
    PACKAGES, KERNELS, FOLDERS = ["torchprim"], [], {"": "."}

# Address that the README's relative links get on a package index, with a slash at its end, such as that
# of the repository's files at the tag of this version. While it is empty their words stay, without a link.
SITE = ""


def long_description(readme: str, site: str = SITE) -> str:
    """Return the README as a page that stands alone: relative links absolute, or their words alone."""
    relative = r"!?\[([^\]]*)\]\((?!https?:|mailto:|#)([^)]+)\)"
    if not site:
        return re.sub(relative, lambda link: "" if link[0].startswith("!") else link[1], readme)
    return re.sub(relative, lambda link: link[0].replace(f"({link[2]})", f"({site}{link[2]})"), readme)


setup(
    version=VERSION,
    long_description=long_description((ROOT / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    packages=[*PACKAGES, *KERNELS],
    package_dir=FOLDERS,
    package_data={"torchprim": ["py.typed", "*.pyi", "report/*.csv", "report/*.js"]},
)
