"""Separators, audio in and stems out: by primitives, by a network, and by both."""
