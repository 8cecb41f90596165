"""`torchprim separate`: its inputs, the names of its stems, what earlier runs made, and the separation."""

STEM_NAMES = ("vocals", "accompaniment")
FOUR_NAMES = ("drums", "bass", "other", "vocals")  # of `--stems 4`, as in MUSDB18
FORMATS = ("wav", "flac", "mp3")
