"""Draws the letters of the pictures of `intone features --png`: an atlas of grey glyphs.

    pip install pillow==13.0.0 matplotlib==3.11.2     # matplotlib for its copy of DejaVu Sans 2.37
    python label_font.py ../crates/intone-cli/src/features/picture/font.png

16 x 6 cells of WIDTH x HEIGHT pixels: ASCII from the space to the tilde, then the minus sign. A glyph's origin is
MARGIN pixels right of its cell's left edge; the baseline is at BASELINE. Prints the advance widths for `font.rs`.
"""

import os
import sys

import matplotlib
from PIL import Image, ImageDraw, ImageFont

SIZE, WIDTH, HEIGHT, MARGIN, BASELINE = 26, 32, 34, 2, 26
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\N{MINUS SIGN}"]

path = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
font = ImageFont.truetype(path, SIZE)
atlas = Image.new("L", (16 * WIDTH, 6 * HEIGHT), 0)
draw = ImageDraw.Draw(atlas)
for index, character in enumerate(CHARACTERS):
    left, top = index % 16 * WIDTH, index // 16 * HEIGHT
    draw.text((left + MARGIN, top + BASELINE), character, font=font, fill=255, anchor="ls")
atlas.save(sys.argv[1], optimize=True)
print([round(font.getlength(character)) for character in CHARACTERS])
