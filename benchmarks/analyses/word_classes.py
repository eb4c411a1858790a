"""Words of a prompt, and their classes."""

from __future__ import annotations

import regex

_WORDS = regex.compile(
    r"(?:[\p{L}\p{N}]\p{M}*)+(?:['\u2019](?:[\p{L}\p{N}]\p{M}*)+)*|[^\s\x1c-\x1f]"
)

_LISTS = {
    "negation": "no not nor never neither none nobody nothing nowhere cannot without except",
    "article": "a an the",
    "pronoun": "i me my mine myself you your yours yourself yourselves he him his himself she her "
    "hers herself it its itself we us our ours ourselves they them their theirs themselves this "
    "that these those who whom whose which what each everyone everything someone something anyone "
    "anything",
    "auxiliary": "am is are was were be been being do does did have has had having can could will "
    "would shall should may might must",
    "preposition": "about above across after against along among around at before behind below "
    "beneath beside besides between beyond by down during for from in inside into like near of off "
    "on onto out outside over past per since through throughout till to toward towards under until "
    "up upon via with within",
    "number": "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy "
    "eighty ninety hundred thousand million billion first second third fourth fifth sixth seventh "
    "eighth ninth tenth half twice",
}
_CLASS = {word: name for name, words in reversed(_LISTS.items()) for word in words.split()}
CLASSES = (*_LISTS, "punctuation", "other")
"""Names of all classes, in the order of tables."""


def words(text: str) -> list[tuple[int, int]]:
    r"""Return the character ranges of the words of a text.

    A word is a run of letters and digits, apostrophes inside it and combining marks included, or a
    single other character that is no white space.

    Example:
        >>> text = "Don't add 12, please."
        >>> [text[start:end] for start, end in words(text)]
        ["Don't", 'add', '12', ',', 'please', '.']
    """
    return [match.span() for match in _WORDS.finditer(text)]


def word_class(word: str) -> str:
    """Return the class of an English word: one of `CLASSES`.

    Closed lists of this project, whatever the case. A word in two lists belongs to the earlier of
    negation, article, pronoun, auxiliary, preposition, number. Words that end in "n't" are
    negations, whatever holds a digit is a number, and other contractions belong to what stands
    before the apostrophe.

    Example:
        >>> [word_class(word) for word in ("The", "don't", "it's", "3rd", "to", ",", "fig")]
        ['article', 'negation', 'pronoun', 'number', 'preposition', 'punctuation', 'other']
    """
    plain = word.lower().replace("\u2019", "'")
    if plain.endswith("n't"):
        return "negation"
    if any(character.isdigit() for character in plain):
        return "number"
    if not any(character.isalpha() for character in plain):
        return "punctuation"
    return _CLASS.get(plain) or _CLASS.get(plain.partition("'")[0], "other")
