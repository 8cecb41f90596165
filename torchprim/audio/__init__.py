"""Audio files to tensors and back, resampling and loudness. No other module opens an audio file."""

from torchprim.audio.find import demo_song, find_audio
from torchprim.audio.load import Sound, load_audio, load_stems, read
from torchprim.audio.write import save, save_stems
from torchprim.errors import AudioError, AudioWarning

__all__ = [
    "AudioError",
    "AudioWarning",
    "Sound",
    "demo_song",
    "find_audio",
    "load_audio",
    "load_stems",
    "read",
    "save",
    "save_stems",
]
