"""From the masks of cues to one mask, and how far to trust it."""
