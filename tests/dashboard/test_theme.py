"""The theme and the style sheet agree."""

import re
import tomllib

from spanledger.dashboard.charts import SERIES
from spanledger.dashboard.start import THEME

STYLE = THEME.parent / "style.css"


def test_the_legend_has_the_colours_of_the_chart() -> None:
    theme = tomllib.loads(THEME.read_text())["theme"]
    pairs = re.findall(r"--sl-chart-\d+: light-dark\((#\w+), (#\w+)\)", STYLE.read_text())
    assert [light for light, _ in pairs] == theme["light"]["chartCategoricalColors"]
    assert [dark for _, dark in pairs] == theme["dark"]["chartCategoricalColors"]


def test_there_is_a_colour_for_every_series_and_one_for_the_rest() -> None:
    assert len(tomllib.loads(THEME.read_text())["theme"]["light"]["chartCategoricalColors"]) == SERIES + 1


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_all_text_stands_out_from_its_ground_as_accessibility_asks() -> None:
    tones = {name: pair for name, *pair in re.findall(r"--sl-(\w+): light-dark\((#\w+), (#\w+)\)", STYLE.read_text())}
    for place in (0, 1):
        for tone in ("soft", "green", "amber", "red"):
            assert contrast(tones[tone][place], tones["card"][place]) >= 4.5, (tone, place)
