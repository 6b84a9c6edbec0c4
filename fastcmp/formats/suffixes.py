"""Which files of a directory are tensors. One row per reader; lower case; the first of two files with one stem gets the plain name."""

from __future__ import annotations

from typing import Final

SUFFIXES: Final = (".npy", ".bin", ".safetensors", ".pt", ".pth", ".npz")
# Files of these may hold several tensors.
MEMBER_SUFFIXES: Final = (".safetensors", ".pt", ".pth", ".npz")
# And these list them as the program had them; what writes .safetensors sorts them.
LISTING_SUFFIXES: Final = (".pt", ".pth", ".npz")
