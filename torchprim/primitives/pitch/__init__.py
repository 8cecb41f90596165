"""Pitch of the singing voice: salience, path, voicing."""
