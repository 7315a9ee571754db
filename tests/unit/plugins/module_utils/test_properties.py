from __future__ import annotations

import random
import shutil
import subprocess

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.properties import Properties, escape
from hypothesis import given, settings
from hypothesis import strategies as st

# Everything that means something in such a file, often.
NASTY = "\\=:#! \t\f\r\nabu00e9é\u00ff"
text_of_a_file = st.text(alphabet=NASTY, max_size=60)
any_character = st.characters(exclude_categories=["Cs"])
any_text = st.text(alphabet=st.sampled_from(NASTY + "ü\u4e2d\U0001f600\x00\x7f") | any_character, max_size=30)


def java_can_read(text):
    """A lone \\u is an error for Java and for us."""
    try:
        Properties(text.encode("latin-1"))
    except ValueError:
        return False
    return True


@given(text_of_a_file.filter(java_can_read))
def test_unchanged_file_stays_the_same_byte_by_byte(text):
    data = text.encode("latin-1")
    assert Properties(data).dump() == data


@given(text_of_a_file.filter(java_can_read), any_text.filter(bool), any_text)
@settings(max_examples=300)
def test_a_value_that_was_set_is_read_back_and_nothing_else_changes(text, key, value):
    properties = Properties(text.encode("latin-1"))
    others = properties.values()
    properties.set(key, value)
    properties.set(key + "2", value)
    written = properties.dump()
    assert all(byte < 0x7F or byte in text.encode("latin-1") for byte in written)
    again = Properties(written).values()
    assert again.pop(key) == value
    assert again.pop(key + "2") == value
    for name in (key, key + "2"):
        others.pop(name, None)
    assert again == others


@given(text_of_a_file.filter(java_can_read), any_text.filter(bool), any_text, any_text)
def test_a_key_is_there_once_after_it_was_changed(text, key, first, second):
    properties = Properties(text.encode("latin-1"))
    properties.set(key, first)
    properties.set(key, second)
    assert [entry.value for entry in Properties(properties.dump()).entries if entry.key == key] == [second]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("key=value", {"key": "value"}),
        ("key = value ", {"key": "value "}),
        ("key:value", {"key": "value"}),
        ("key value", {"key": "value"}),
        ("  key\t=\tvalue", {"key": "value"}),
        ("key", {"key": ""}),
        ("key=", {"key": ""}),
        ("=value", {"": "value"}),
        ("key==value", {"key": "=value"}),
        ("key=a:b=c", {"key": "a:b=c"}),
        (r"a\=b\:c\ d=x", {"a=b:c d": "x"}),
        (r"key=C:\\temp", {"key": "C:\\temp"}),
        (r"key=\u00e9\ud83d\ude00", {"key": "é😀"}),
        (r"key=\q\t\n", {"key": "q\t\n"}),
        ("#key=value", {}),
        ("  ! key=value", {}),
        ("key=one\\\n   two\\\n\tthree", {"key": "onetwothree"}),
        ("key=one\\\n#two", {"key": "one#two"}),
        ("# comment\\\nkey=value", {"key": "value"}),
        ("key=one\\\\\nother=two", {"key": "one\\", "other": "two"}),
        ("key=one\\\n\nother=two", {"key": "one", "other": "two"}),
        ("key=one\r\nother=two\rthird=3", {"key": "one", "other": "two", "third": "3"}),
        ("key=one\nkey=two", {"key": "two"}),
        ("key=one\\", {"key": "one"}),
    ],
)
def test_reading(line, expected):
    assert Properties(line.encode("latin-1")).values() == expected


def test_malformed_escape_is_refused():
    with pytest.raises(ValueError, match="malformed"):
        Properties(b"key=\\u12")


def test_comments_order_and_newlines_stay():
    properties = Properties(b"# top\r\n\r\nb = 2\r\na=1\r\n! end")
    properties.set("b", "two words")
    properties.set("new", "x")
    assert properties.dump() == b"# top\r\n\r\nb=two words\r\na=1\r\n! end\r\nnew=x\r\n"


def test_an_old_duplicate_does_not_keep_an_old_password():
    properties = Properties(b"p=old1\n# c\np=old2\n")
    properties.set("p", "new")
    assert properties.dump() == b"# c\np=new\n"


def test_an_open_continuation_at_the_end_does_not_swallow_the_new_line():
    for end in (b"a=1\\", b"a=1\\\n", b"a=1\\\r\n"):
        properties = Properties(end)
        properties.set("b", "2")
        assert Properties(properties.dump()).values() == {"a": "1", "b": "2"}


def test_urls_stay_readable_and_the_file_is_ascii():
    assert escape("https://h:1/?a=b#c") == "https://h:1/?a=b#c"
    assert escape(" é😀", in_key=False) == "\\ \\u00E9\\uD83D\\uDE00"


JAVA = """
import java.io.*;
import java.util.*;

public class Read {
    static String hex(String text) {
        StringBuilder out = new StringBuilder();
        for (char c : text.toCharArray()) out.append(String.format("%04x", (int) c));
        return out.toString();
    }

    public static void main(String[] arguments) throws Exception {
        for (File file : new File(arguments[0]).listFiles()) {
            StringBuilder line = new StringBuilder(file.getName());
            Properties properties = new Properties();
            try (InputStream in = new FileInputStream(file)) {
                properties.load(in);
                for (String key : properties.stringPropertyNames())
                    line.append(" ").append(hex(key)).append("=").append(hex(properties.getProperty(key)));
            } catch (IllegalArgumentException error) {
                line.append(" bad");
            }
            System.out.println(line);
        }
    }
}
"""


@pytest.mark.skipif(not shutil.which("java"), reason="needs a JDK to compare with")
def test_java_reads_the_same(tmp_path):
    """Hundreds of files, as found and after a change, read by java.util.Properties itself."""
    chance = random.Random(20251123)
    files = tmp_path / "files"
    files.mkdir()
    expected = {}
    for number in range(600):
        text = "".join(chance.choice(NASTY) for i in range(chance.randint(0, 50)))
        if number % 2:
            try:
                properties = Properties(text.encode("latin-1"))
            except ValueError:
                continue
            value = "".join(chance.choice(NASTY + "😀") for i in range(9))
            properties.set(chance.choice(["a", "=k ", "\u4e2d#", "b!"]), value)
            data = properties.dump()
        else:
            data = text.encode("latin-1")
        name = f"{number:04}"
        (files / name).write_bytes(data)
        try:
            values = Properties(data).values()
        except ValueError:
            expected[name] = "bad"
            continue
        # A file that ends in a lone backslash is an empty entry for Java and nothing for us.
        values.pop("", None)
        expected[name] = " ".join(sorted(f"{units(key)}={units(value)}" for key, value in values.items()))
    (tmp_path / "Read.java").write_text(JAVA)
    try:
        command = ["java", str(tmp_path / "Read.java"), str(files)]
        output = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this java cannot run a source file: {error.stderr[:200]}")
    actual = {}
    for line in output.splitlines():
        name, rest = (line + " ").split(" ", 1)
        actual[name] = " ".join(sorted(pair for pair in rest.split() if not pair.startswith("=")))
    assert len(actual) > 400
    assert actual == expected


def units(text):
    return text.encode("utf-16-be", "surrogatepass").hex()
