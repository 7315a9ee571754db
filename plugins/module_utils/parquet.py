# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Columns and rows of a Parquet file.

Its footer says them, in Thrift's compact protocol. So no library is needed on the host.
"""

import errno
import os

from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import BadInput


class Thrift:
    """Reads structures as dictionaries of their field numbers."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self):
        size = self.varint()
        self.at += size
        if self.at > len(self.data):
            raise IndexError
        return self.data[self.at - size : self.at]

    def double(self):
        self.at += 8

    def sequence(self):
        head = self.byte()
        size = head >> 4
        size = self.varint() if size == 15 else size
        return [self.value(head & 0x0F, in_sequence=True) for _index in range(size)]

    def mapping(self):
        size = self.varint()
        kinds = self.byte() if size else 0
        return [(self.value(kinds >> 4, True), self.value(kinds & 0x0F, True)) for _index in range(size)]

    def structure(self):
        fields, number = {}, 0
        while True:
            head = self.byte()
            if not head:
                return fields
            number = number + (head >> 4) if head >> 4 else self.integer()
            fields[number] = self.value(head & 0x0F)

    def value(self, kind, in_sequence=False):
        if kind in (1, 2):  # true and false: in a structure the kind is the value
            return self.byte() == 1 if in_sequence else kind == 1
        readers = {3: self.byte, 4: self.integer, 5: self.integer, 6: self.integer, 7: self.double, 8: self.binary}
        readers.update({9: self.sequence, 10: self.sequence, 11: self.mapping, 12: self.structure})
        return readers[kind]()


def parquet_shape(path):
    """Names of the columns, a list of str, and the number of rows, an int. BadInput if the file is not complete, OSError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(-8, os.SEEK_END)
            size = int.from_bytes(file.read(4), "little")
            if file.read(4) != b"PAR1":
                raise ValueError("no mark at the end")
            file.seek(-8 - size, os.SEEK_END)
            footer = Thrift(file.read(size)).structure()
        schema, columns, at = footer[2], [], 1
        for _index in range(schema[0][5]):
            columns.append(schema[at][4].decode())
            inner = 1
            while inner:  # over the column and what is nested in it
                inner += schema[at].get(5, 0) - 1
                at += 1
        return columns, int(footer[3])
    except (AttributeError, IndexError, KeyError, OSError, RecursionError, TypeError, ValueError) as exc:
        if isinstance(exc, OSError) and exc.errno != errno.EINVAL:  # EINVAL: a place before the beginning of the file
            raise
        raise BadInput("it is not a complete Parquet file") from exc
