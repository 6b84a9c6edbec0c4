"""One pair in depth: its elements read again, where the error lies, and which pattern it has."""
