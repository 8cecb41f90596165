"""Files of sound to tensors and back, sample rates and loudness. Nothing else opens a file of sound."""

from torchprim.audio.find import demo_song, find_audio
from torchprim.audio.load import Sound, load_audio, load_stems, read
from torchprim.audio.write import save, save_stems

__all__ = ["Sound", "demo_song", "find_audio", "load_audio", "load_stems", "read", "save", "save_stems"]
