"""Grouping cues that need no training. One cue a file; the functions are exported by `torchprim`."""
