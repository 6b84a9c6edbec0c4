"""Make docs/page.png, the picture of a page, from the report that `make demo` has left.

python docs/make_picture.py [DIRECTORY-OF-A-REPORT]      needs a Chromium (`make browser`)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fastcmp.page.write import write_page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "page"))
WIDTH = 1400
# What a README can show: up to the end of the heat map.
LAST = "document.getElementById('map').getBoundingClientRect().bottom + scrollY + 16"
MOST_BYTES = 200_000


def main() -> int:
    from headless_chromium import Page, find_chromium
    from PIL import Image

    directory = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "demo-output" / "report")
    browser = find_chromium()
    if browser is None:
        sys.exit("no Chromium here: make browser")
    picture = ROOT / "docs" / "page.png"
    with tempfile.TemporaryDirectory() as scratch:
        page = write_page(directory, str(Path(scratch) / "page.html"))
        with Page(browser, Path(scratch) / "profile", width=WIDTH) as opened:
            opened.open(Path(page))
            opened.screenshot(picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": opened.evaluate(LAST)})
    # 128 colours do: a third of the bytes. Bokeh itself needs Pillow.
    Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)
    size = picture.stat().st_size
    print(f"{picture.relative_to(ROOT)}: {size} bytes")
    return 0 if size <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
