"""What a run found, as columns, and the files that it leaves."""
