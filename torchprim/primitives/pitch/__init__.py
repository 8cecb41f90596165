"""Pitch of the singing voice: salience, voicing, and the path through both."""
