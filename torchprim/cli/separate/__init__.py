"""`torchprim separate`: its inputs, the names of its stems, what earlier runs made, and the separation."""

STEM_NAMES = ("vocals", "accompaniment")
FORMATS = ("wav", "flac", "mp3")
