"""The page of a comparison: one HTML file that loads nothing, made from what is saved."""
