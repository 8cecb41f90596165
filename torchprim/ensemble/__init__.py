"""The ensemble of primitives: presets, cues, clustering of their masks, and its confidence."""
