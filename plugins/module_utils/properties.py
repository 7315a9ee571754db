# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Java properties files, read as java.util.Properties reads them, changed without touching any other line."""

import re

BLANKS = " \t\f"
NATURAL_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
NEWLINE = re.compile(r"\r\n|\r|\n")
LAST_NEWLINE = re.compile(r"(?:\r\n|\r|\n)\Z")
KEY = re.compile(r"(?:\\.|[^\\=: \t\f])*", re.S)
SEPARATOR = re.compile(r"[ \t\f]*[=:]?[ \t\f]*")
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.S)
LETTERS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class Entry:
    """One logical line: its text as it stands in the file, and what it means. Comments and blank lines have no key."""

    def __init__(self, raw, key=None, value=None):
        self.raw, self.key, self.value = raw, key, value


class Properties:
    def __init__(self, data=b""):
        # Latin-1 is what the format prescribes, and it gives every byte back unharmed.
        text = data.decode("latin-1")
        newline = NEWLINE.search(text)
        self.newline = newline.group(0) if newline else "\n"
        self.entries = list(parse(text))

    def dump(self):
        return "".join(entry.raw for entry in self.entries).encode("latin-1")

    def values(self):
        """As Java sees it: of a key that is there twice, the last one counts."""
        return {entry.key: entry.value for entry in self.entries if entry.key is not None}

    def set(self, key, value):
        new = Entry(f"{escape(key, in_key=True)}={escape(value)}{self.newline}", key, value)
        places = [index for index, entry in enumerate(self.entries) if entry.key == key]
        if places:
            self.entries[places[-1]] = new
            for index in reversed(places[:-1]):  # an overridden duplicate would keep an old password readable
                del self.entries[index]
            return
        if self.entries:
            last = self.entries[-1]
            last.raw = finished(last.raw, self.newline)
        self.entries.append(new)

    def remove(self, key):
        self.entries = [entry for entry in self.entries if entry.key != key]


def parse(text):
    lines = iter(NATURAL_LINE.findall(text))
    for raw in lines:
        logical = NEWLINE.sub("", raw).lstrip(BLANKS)
        if not logical or logical[0] in "#!":
            yield Entry(raw)
            continue
        while continues(logical):
            logical = logical[:-1]
            more = next(lines, None)
            if more is None:
                break
            raw += more
            more = NEWLINE.sub("", more).lstrip(BLANKS)
            if not logical and more[:1] in ("#", "!"):
                break  # a comment, as nothing but a backslash came before it
            logical += more
        if not logical:
            yield Entry(raw)
            continue
        key = KEY.match(logical)
        separator = SEPARATOR.match(logical, key.end())
        yield Entry(raw, unescape(key.group()), unescape(logical[separator.end() :]))


def continues(line):
    """An odd number of backslashes at the end joins the next line."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def finished(raw, newline):
    """The last logical line of a file, such that another one can follow it."""
    end = LAST_NEWLINE.search(raw)
    body = raw[: end.start()] if end else raw
    if continues(body) and body.lstrip(BLANKS)[0] not in "#!":
        return body[:-1] + newline  # a backslash that joined nothing would join the new line
    return raw if end else raw + newline


def unescape(text):
    def one(match):
        what = match.group(1)
        if len(what) == 5:
            return chr(int(what[1:], 16))
        if what == "u":
            raise ValueError("malformed \\uxxxx escape: " + text)
        return LETTERS.get(what, what)

    # Java writes a character beyond the basic plane as two escapes.
    return ESCAPE.sub(one, text).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def escape(text, in_key=False):
    out = []
    for index, char in enumerate(text):
        code = ord(char)
        if char == "\\" or (in_key and char in "=:#! "):
            out.append("\\" + char)
        elif char == " " and index == 0:
            out.append("\\ ")
        elif char in "\t\n\r\f":
            out.append("\\" + {"\t": "t", "\n": "n", "\r": "r", "\f": "f"}[char])
        elif 0x20 <= code <= 0x7E:
            out.append(char)
        else:
            units = char.encode("utf-16-be", "surrogatepass").hex().upper()
            out.extend("\\u" + units[at : at + 4] for at in range(0, len(units), 4))
    return "".join(out)
