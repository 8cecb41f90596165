"""Packaging. `kernels/` sits at the top of the repository and is installed as `torchprim.kernels`."""

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

setup(
    name="torchprim",
    version=VERSION,
    description="Vocals from accompaniment with no isolated recordings: primitives, clustering, confidence",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=[*PACKAGES, *KERNELS],
    package_dir=FOLDERS,
    package_data={"torchprim": ["py.typed", "*.pyi"]},
    entry_points={"console_scripts": ["torchprim=torchprim.cli.main:main"]},
    install_requires=[
        # Bounded on both sides: torch 2.15 is built with another CUDA than the newest torchaudio,
        # which then refuses to import.
        "torch>=2.11,<2.15",
        "torchaudio>=2.11",
        "numpy",
        "torchcrepe",
        "museval",
        "tqdm",
        "av",
        "soundfile",
        "matplotlib",
    ],
    extras_require={
        "test": [
            "pytest",
            "hypothesis",
            "scipy",
            "librosa",
            "scikit-learn",
            "mir_eval",
            "pyright[nodejs]",
            "ruff",
        ]
    },
)
