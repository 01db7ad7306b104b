"""The visible text of an element: its lines, as a reader sees them."""

import re
from functools import lru_cache

from lxml import etree

# Elements that end a line, also those of a framework (<x-row>); all others stand within one.
BLOCK = re.compile(
    r"address|article|aside|blockquote|body|br|button|canvas|caption|center|col|colgroup|dd|"
    r"details|dialog|dir|div|dl|dt|fieldset|fig[a-z]*|footer|form|frame|frameset|h[1-6]|header|"
    r"hgroup|hr|html|iframe|input|legend|li|main|menu|nav|object|ol|optgroup|option|p|pre|search|"
    r"section|select|summary|svg|table|tbody|td|text|textarea|tfoot|th|thead|title|tr|ul|video|"
    r"[a-z]+-[\w-]+"
)
# Of a tree written as XML, where every < and > that is no markup is escaped.
UNSEEN = re.compile(
    r"<!--.*?-->|<\?.*?\?>|<(head|script|style|template|noscript)(?: [^>]*?)?(?:/>|>.*?</\1>)",
    re.DOTALL,
)
TAG = re.compile(r"</?([^ />]*)[^>]*>")  # its name
BLANKS = (("\n", " "), *((odd, "") for odd in ("\u200b", "\u2060", "\ufeff", "\xad", "&#xFFFD;")))
ENTITIES = (("&#13;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


@lru_cache(maxsize=256)
def _end(name: str) -> str:
    """What stands for a tag in the text: the end of a line, or nothing."""
    return "\n" if BLOCK.fullmatch(name) else ""


def text_lines(root: etree._Element) -> list[str]:
    """The visible text of an element: a line a block, white space collapsed, no empty lines."""
    text = etree.tostring(root, encoding="unicode", with_tail=False)
    for found, put in BLANKS:
        text = text.replace(found, put)
    parts = TAG.split(UNSEEN.sub("", text))  # what is unseen takes no room, so it ends no line
    parts[1::2] = map(_end, parts[1::2])
    text = "".join(parts)
    for found, put in ENTITIES:
        text = text.replace(found, put)
    return [" ".join(words) for line in text.split("\n") if (words := line.split())]
