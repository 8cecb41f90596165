"""Packaging. `kernels/` sits at the top of the repository and is installed as `torchprim.kernels`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "torchprim" / "version.py").read_text()).group(1)

setup(
    name="torchprim",
    version=VERSION,
    description="Vocals from accompaniment with no isolated recordings: primitives, clustering, confidence",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=[
        "torchprim",
        *("torchprim." + name for name in find_packages(ROOT / "torchprim")),
        "torchprim.kernels",
        *("torchprim.kernels." + name for name in find_packages(ROOT / "kernels")),
    ],
    package_dir={"torchprim": "torchprim", "torchprim.kernels": "kernels"},
    package_data={"torchprim": ["py.typed", "*.pyi", "report/*.csv", "report/*.js"]},
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
