"""The visible text of an element: its lines, as a reader sees them."""

import re

from lxml import etree

# Elements that end a line, also those of a framework (<x-row>); all others stand within one.
BLOCK = (
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
BLOCK_TAG = re.compile(rf"</?(?:{BLOCK})(?: [^>]*)?/?>")
TAG = re.compile(r"<[^>]*>")
LINE = re.compile(r"[^ \n][^\n]*")
BLANKS = (("\n", " "), *((odd, "") for odd in ("\u200b", "\u2060", "\ufeff", "\xad", "&#xFFFD;")))
ENTITIES = (("&#13;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def text_lines(root: etree._Element) -> list[str]:
    """The visible text of an element: a line a block, white space collapsed, no empty lines."""
    text = etree.tostring(root, encoding="unicode", with_tail=False)
    for found, put in BLANKS:
        text = text.replace(found, put)
    text = UNSEEN.sub("", text)  # takes no room, so it ends no line
    text = TAG.sub("", BLOCK_TAG.sub("\n", text))
    for found, put in ENTITIES:
        text = text.replace(found, put)
    return [" ".join(words) for line in LINE.findall(text) if (words := line.split())]
