"""`torchprim separate`: its inputs, the names of its stems, what earlier runs made, and the separation."""

FORMATS = ("wav", "flac", "mp3")
