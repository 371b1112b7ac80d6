#!/usr/bin/env python3
"""Write src/eval/glyphs.rs: the letter outlines that the evaluation's pictures are set in.

A picture made on a server is opened on machines with and without Korean fonts, so its
text is drawn as paths. The outlines come from Nanum Gothic (SIL Open Font License 1.1,
licence beside the output), as packaged by Debian in `fonts-nanum`.

    apt-get install fonts-nanum && pip install fonttools
    scripts/make_eval_glyphs.py [NanumGothic.ttf]

Letters: those of numbers and figures' names, and every Hangul syllable between quotation marks in
src/eval/picture.rs and src/labels.rs.
"""

import re
import sys
from pathlib import Path

from fontTools.pens.svgPathPen import SVGPathPen
from fontTools.pens.transformPen import TransformPen
from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = "/usr/share/fonts/truetype/nanum/NanumGothic.ttf"
EM = 1000
NUMBERS = "0123456789.%· ECF"


def letters() -> list[str]:
    found = set(NUMBERS)
    for name in ("picture.rs", "../labels.rs"):
        source = (ROOT / "src/eval" / name).read_text(encoding="utf-8")
        for quoted in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source):
            found.update(re.findall("[가-힣]", quoted))
    return sorted(found)


def main() -> None:
    font = TTFont(sys.argv[1] if len(sys.argv) > 1 else DEBIAN)
    scale = EM / font["head"].unitsPerEm
    glyphs, names, advances = font.getGlyphSet(), font.getBestCmap(), font["hmtx"]
    lines = []
    for letter in letters():
        name = names[ord(letter)]
        pen = SVGPathPen(glyphs, ntos=lambda x: str(round(x)))
        # SVG's y axis points down.
        glyphs[name].draw(TransformPen(pen, (scale, 0, 0, -scale, 0, 0)))
        advance = round(advances[name][0] * scale)
        lines.append(f"    ('{letter}', {advance}, \"{pen.getCommands()}\"),\n")
    (ROOT / "src/eval/glyphs.rs").write_text(
        "//! Letter outlines for [`super::picture`], written by `scripts/make_eval_glyphs.py`.\n"
        "//!\n"
        "//! Copyright (c) 2010, NAVER Corporation, SIL Open Font License 1.1: `glyphs-OFL.txt`.\n"
        "\n"
        f"/// Letter, advance and SVG path (y down, baseline at 0) in units of 1/{EM} em; sorted by letter.\n"
        "#[rustfmt::skip]\n"
        "pub(super) const GLYPHS: &[(char, u16, &str)] = &[\n" + "".join(lines) + "];\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
