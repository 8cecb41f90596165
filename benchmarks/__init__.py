"""Measurements that anybody can repeat: `python -m benchmarks NAME`, from the root of a clone."""
