"""Format in sentences: tags, links, placeholders and the like, and the markers that stand for them.

While a sentence is put together, each part of the format is one private-use character, the same in both languages, so
its place is right by construction. `Marked` then writes the text as a user has it (`raw`) and as the model is shown it
(`coded`), numbered as the translator numbers it: from 1, a tag and the one that closes it alike.
"""

import re

import prompts
from phrasebook import LATIN, finish, noun_phrase, slot_class

_FIRST = 0xE000
# A part that stands for a word, behind which the sentence goes on in lower case.
_FIRST_WORD = 0xE100
_ANY = re.compile("[\ue000-\ue1ff]")
_STOPS = ".?!"
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9_:-]*)[^<>]*>")

EMOJI = ["🤖", "🔋", "👋", "📍", "✅", "⚠️", "🙂", "🚀", "❤️", "☕", "🎉", "🗺️", "👍", "📦"]
LINE_MARKS = ["- ", "* ", "1. ", "2. ", "3) ", "## ", "# ", "> "]
BREAKS = ["<br>", "<br/>", "<hr/>", "<br />"]
_NAMES = ["name", "user", "count", "robot_name", "room", "value", "x", "place", "time", "id", "item", "n"]
_HOSTS = ["example.org", "robots.example.com", "docs.ros.org", "hotel.example", "museum.example.net"]
_PATHS = ["", "/help", "/map.html", "/a?b=1&c=2", "/en/start", "/docs/manual.pdf", "/#top", "/rooms/12"]
_CODE = ["ros2 topic list", "/cmd_vel", "stop()", "robot_1", "map.yaml", "sudo reboot", "x = 1", "--help", "true", "README.md"]
_HTML = ["b", "i", "em", "strong", "u", "mark", "small", "span", "a", "font", "g", "s", "kbd", "color"]


class Marked:
    """The parts of one sentence's format, in the order in which they were made."""

    def __init__(self):
        self.parts = []

    def add(self, raw, is_word=False):
        """The character that stands for a part."""
        self.parts.append(raw)
        return chr((_FIRST_WORD if is_word else _FIRST) + len(self.parts) - 1)

    def _raw_of(self, char):
        code = ord(char)
        return self.parts[code - (_FIRST_WORD if code >= _FIRST_WORD else _FIRST)]

    def raw(self, text):
        return _ANY.sub(lambda m: self._raw_of(m[0]), text)

    def runs_together(self, text):
        """True where two parts that are no tags touch, or a single sign has no word on exactly one side: they would not be read as meant."""
        padded = f" {text} "
        for a, b, c in zip(padded, padded[1:], padded[2:]):
            if not _ANY.match(b):
                continue
            raw = self._raw_of(b)
            if _ANY.match(c) and "<" not in (raw[0], self._raw_of(c)[0]):
                return True
            if raw in ("*", "_") and a.isalnum() == c.isalnum():
                return True
            # Signs behind an address and its full stop would be read as part of the address.
            behind = text[text.index(b) + 1 :].lstrip(_STOPS)
            if "." in raw and "<" not in raw[0] and behind and _ANY.match(behind) and self._raw_of(behind[0])[0] in "~*_]":
                return True
            # Links, addresses and "%s" begin and end where an ASCII word does.
            if raw[-1] not in ">}`);" and raw[0].isascii() and raw[0] not in "*_~<-#" and any(x.isascii() and x.isalnum() for x in (a, c)):
                return True
        return False

    def coded(self, source, text, family):
        """`text` with markers, numbered as they stand in `source`."""
        chars = _ANY.findall(source)
        roles = pair([self._raw_of(c) for c in chars])
        written = {c: write(family, *role) for c, role in zip(chars, roles, strict=True)}
        return _ANY.sub(lambda m: written[m[0]], text)


def pair(parts):
    """(number, role) of each part: only tags that close inside one another are pairs."""
    roles, opened, number = [], [], 1
    for i, raw in enumerate(parts):
        tag = None if raw.endswith("/>") else _TAG.fullmatch(raw)
        if tag and tag[1] and opened and opened[-1][1] == tag[2].lower():
            start = opened.pop()[0]
            roles[start] = (roles[start][0], "open")
            roles.append((roles[start][0], "close"))
            continue
        if tag and not tag[1]:
            opened.append((i, tag[2].lower()))
        roles.append((number, "single"))
        number += 1
    return roles


def write(family, number, role):
    if family == prompts.HY_MT15:
        return {"open": f"<s{number}>", "close": f"</s{number}>", "single": f"<s{number}></s{number}>"}[role]
    return f"⟦/{number}⟧" if role == "close" else f"⟦{number}⟧"


def must_survive(parts):
    """Emoji and what begins a line alone are no reason to ask with markers."""
    return any(p not in EMOJI and p not in LINE_MARKS for p in parts)


def capitalised(text, lang):
    """The first letter as a sentence begins, unless a placeholder stands in its place."""
    if lang not in LATIN:
        return text
    for i, c in enumerate(text):
        if ord(c) >= _FIRST_WORD and ord(c) < _FIRST_WORD + 0x100:
            return text
        if c.isalpha():
            return text[:i] + finish(text[i:], lang)
        if c.isalnum():
            return text
    return text


def link(rng):
    kind = rng.random()
    if kind < 0.6:
        return f"https://{rng.choice(_HOSTS)}{rng.choice(_PATHS)}"
    if kind < 0.75:
        return f"www.{rng.choice(_HOSTS)}"
    return f"{rng.choice(('info', 'help', 'anna.b', 'robot'))}@{rng.choice(_HOSTS)}"


def placeholder(rng, source):
    name = rng.choice(_NAMES)
    # In front of Han and kana "%s" would be part of a longer word.
    looks = ["{%s}", "{%s}", "{%s}", "{{%s}}", "${%s}"]
    look = rng.choice(looks + ["%%s", "%%1$s"] if source in LATIN else looks)
    return look % name if look.count("%s") and "%%" not in look else look.replace("%%", "%")


def code(rng):
    return f"`{rng.choice(_CODE)}`"


def single(rng, source, is_word=False):
    """A part that stands alone: for a word, or between words."""
    kind = rng.random()
    if is_word:
        return placeholder(rng, source) if kind < 0.6 else code(rng) if kind < 0.85 else link(rng)
    if kind < 0.25:
        return rng.choice(EMOJI)
    if kind < 0.5:
        return placeholder(rng, source)
    if kind < 0.7:
        return code(rng)
    if kind < 0.85:
        return link(rng)
    return rng.choice(("<br>", "<br/>", '<img src="map.png">', "&nbsp;", "&copy;", '<icon name="x"/>'))


def wrapping(rng, marked, source, is_sentence=False):
    """What stands before and behind a word group: a pair of tags, emphasis, or a Markdown link."""
    kind = rng.random()
    if kind < 0.6:
        name = rng.choice(_HTML)
        attributes = {
            "a": [f' href="{link(rng)}"', f" href='{link(rng)}'"],
            "span": [' style="color:red"', ' class="note"', ""],
            "font": [' color="blue"', ' color="#ff0000"'],
            "g": [' id="1"', ' id="7"'],
            "color": [' value="green"', ""],
        }.get(name, [""])
        return marked.add(f"<{name}{rng.choice(attributes)}>"), marked.add(f"</{name}>")
    if kind < 0.72:
        return "[", marked.add(f"](https://{rng.choice(_HOSTS)}{rng.choice(_PATHS)})")
    # Between Han and kana, and behind a full stop, single signs are no emphasis.
    mark = rng.choice(("**", "**", "**", "*", "_", "~~", "__") if source in LATIN and not is_sentence else ("**", "**", "~~"))
    return marked.add(mark), marked.add(mark)


def countable_slots(template, source, target, values):
    """The slots that stand once in both sentences."""
    def heads(lang):
        return [slot for _, slot, _ in template.pieces(lang, values) if slot]

    a, b = heads(source), heads(target)
    return [s for s in template.slots if a.count(s) == 1 and b.count(s) == 1]


def parts_of_piece(lang, text, value, adjective):
    """(article with its space, adjective before, noun, adjective behind) of a noun phrase; None where it is none."""
    for noun in (value.oblique if lang == "de" else "", value.bare(lang)):
        at = text.rfind(noun) if noun else -1
        if at >= 0:
            break
    else:
        return None
    before, behind = text[:at], text[at + len(noun) :]
    if not adjective:
        return before, "", noun, behind
    if lang in ("fr", "es"):
        return before, "", noun, behind
    if lang in ("en", "de"):
        article, _, adj = before.partition(" ")
        return article + " ", adj, noun, behind
    return "", before, noun, behind


def wrap_piece(lang, text, value, adjective, mode, before, behind):
    """`text` of a slot with a wrapping around the whole, its noun, or its adjective."""
    if mode == "whole":
        return before + text + behind
    article, adj, noun, after = parts_of_piece(lang, text, value, adjective)
    if mode == "noun":
        return f"{article}{adj}{before}{noun}{behind}{after}"
    if lang in ("fr", "es"):
        return f"{article}{noun} {before}{after.strip()}{behind}"
    joint = "的" if lang == "zh" and adj.endswith("的") else " " if adj.endswith(" ") else ""
    return f"{article}{before}{adj.removesuffix(joint) if joint else adj}{behind}{joint}{noun}"
