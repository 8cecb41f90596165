"""Audio in, stems and confidence out: by primitives, and by a trained network."""
