"""Dumps of ranks that share each tensor, named as the one dump that a single rank would have written."""
