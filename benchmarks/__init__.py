"""Measurements that anybody can repeat: `python -m benchmarks NAME`, from the root of a clone."""

import os

# As the command line does, and before torch is loaded: see torchprim/cli/main.py.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
