"""Whether a name that a book knows only a part of is still that model: a snapshot or stage of it, or another version.

`claude-sonnet-4-5-20250929` is `claude-sonnet-4-5` on a date; `claude-sonnet-4-55` is a model of its own that nobody has a
price for; `gemini-3.8-flash-cyber` may be dearer than `gemini-3.8-flash`, so that its price is an estimate.
"""

import re

_YEAR, _MONTH, _DAY = r"20[2-4]\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_SHORT_YEAR = r"2[3-9]"

#: What may follow a model's name without making it another model, as providers date and stage their models.
_SAME_MODEL = re.compile(
    rf"""(?<![a-z0-9])(?:
      {_YEAR}-?{_MONTH}-?{_DAY}                                            # 20250929, 2024-08-06
    | {_MONTH}-{_YEAR}                                                     # Cohere's 08-2024, Gemini's preview-09-2025
    | {_SHORT_YEAR}{_MONTH}                                                # Mistral's 2411
    | {_MONTH}{_DAY}                                                       # OpenAI's 0613
    | (?:(?<=preview-)|(?<=exp-)|(?<=experimental-)){_MONTH}-{_DAY}        # Gemini's preview-05-06
    | (?P<revision>00[1-9])                                                # Gemini's -001
    | v1:0|(?<=v1:)0|(?<=-1:)0|(?P<first>v1)                               # Bedrock's -v1:0
    | preview|latest|exp|experimental|beta|stable|default
    )(?![a-z0-9])""",
    re.VERBOSE,
)
_WORD = re.compile(r"[^-@.:_/\s]+")
_VERSION = re.compile(r"v?\d+")

#: What Bedrock puts in front of a model that any region has at one price, which the book calls `regional.`.
_REGIONS = frozenset({"us", "eu", "apac", "jp", "au", "in", "ca", "sa", "gov"})

#: Names of another version in form that are none: Vertex AI calls Claude 3.5 Sonnet of October 2024 so.
_SAME_NAMES = ("claude-3-5-sonnet-v2@20241022",)


def unknown_words(name: str, start: int, end: int, model: str) -> str | None:
    """The words of a name that neither the book nor the custom of providers explains, when a book knows `name[start:end]` as
    (a part of) its `model`; "" when there are none, None when they make it another version. All in lower case."""
    if _cut(name, start):
        return None
    behind = _behind(name, start, end, model)
    if behind is None:
        return None
    explained = {"anthropic", *(_REGIONS if model.startswith("regional.") else ()), *_WORD.findall(model)}
    ahead = [word for word in _WORD.findall(name[:start]) if word not in explained]
    return " ".join([*ahead, *behind])


def _behind(name: str, start: int, end: int, model: str) -> list[str] | None:
    if name.endswith(_SAME_NAMES) or re.search(rf"{re.escape(name[start:])}(?![a-z0-9])", model):
        return []
    # Who fine-tuned a model, and what they call it, says nothing about its price.
    if ".ft-" in name[:end]:
        return []
    if name.startswith("ft:"):
        colon = name.find(":", end)
        name = name if colon < 0 else name[:colon]
    # A word or date that the book spells only the beginning of is looked at whole.
    begins = end
    while begins > start and begins < len(name) and _cut(name, begins):
        begins -= 1
    if dated := re.search(r"20\d\d-$", name[:begins]):
        begins = dated.start()
    left, at = [], begins
    for known in _SAME_MODEL.finditer(name, begins):
        if (known["revision"] and "gemini" not in name) or (known["first"] and not model.endswith(("-v1", "-v1:0"))):
            continue
        left.append(name[at : known.start()])
        at = known.end()
    words = _WORD.findall(" ".join([*left, name[at:]]))
    if any(_VERSION.fullmatch(word) for word in words) or (begins < end and words and name.startswith(words[0], begins)):
        return None
    return words


def _cut(name: str, at: int) -> bool:
    """Whether a place in a name is inside a word."""
    return 0 < at < len(name) and name[at - 1].isalnum() and name[at].isalnum()
