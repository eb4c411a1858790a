"""What a browser would make of a page's HTML."""

from __future__ import annotations

from html.parser import HTMLParser


class Reader(HTMLParser):
    """What a browser would make of the page's HTML: tags, texts by class, and what is struck."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: dict[str, str] = {}
        self.links: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        assert not [name for name in values if name.startswith("on")]
        self._open.append((tag, (values.get("class") or tag).split()[-1]))
        if tag == "a":
            self.links.append(values["href"])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for name in {name for _, name in self._open}:
            self.texts[name] = self.texts.get(name, "") + data
