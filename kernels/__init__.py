"""Operators of the primitives, one a file. Imported as `torchprim.kernels`, never as `kernels`."""
