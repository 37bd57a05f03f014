"""Where a cloud answered, as far as prices hang on it. Regions are told by their form, so that a new one needs no new version."""

import re

#: What a call to Bedrock in GovCloud, and one in any other region that the book's prices are not of, is taken for.
GOVCLOUD, ABROAD = "us-gov", "abroad"
#: The same of Vertex AI, whose other addresses answer from all the world.
REGIONAL = "regional"

#: A region of AWS, or a zone in it: `eu-west-1`, `us-isob-east-1`, `ap-southeast-7b`.
_REGION = re.compile(r"([a-z]{2}(?:-[a-z]+)+-\d{1,2})[a-z]?")
#: Those whose prices the book has. Elsewhere some models are dearer, and the book does not know by how much.
_HOME = frozenset({"us-east-1", "us-east-2", "us-west-2"})


#: A region of Google's: `us-central1`, `northamerica-northeast2`.
_OF_GOOGLE = re.compile(r"[a-z]+-[a-z]+\d{1,2}")


def place_of(region: str | None) -> str | None:
    """`GOVCLOUD`, `ABROAD`, `REGIONAL`, or None for a region that makes no difference and for what is none."""
    if region is None or region in (GOVCLOUD, ABROAD, REGIONAL):
        return region
    plain = region.strip().lower()
    if _OF_GOOGLE.fullmatch(plain):
        return REGIONAL
    found = _REGION.fullmatch(plain)
    if found is None or found[1] in _HOME:
        return None
    return GOVCLOUD if found[1].startswith(f"{GOVCLOUD}-") else ABROAD
