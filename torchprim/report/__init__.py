"""The HTML page of one separated song: pictures, players, confidence."""
