"""Primitives: grouping cues that need no training, each a function and a module in a file of its own."""
