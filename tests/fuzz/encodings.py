"""Random protobuf encodings of a message type, made from its descriptor: right ones, odd ones and wrong ones.

They are written byte by byte, for a message object can hold none of what is most worth sending: strings that are not
UTF-8, fields of the wrong wire type, a length that lies, a group that never ends.
"""

from __future__ import annotations

import struct
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)
WIRE_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: FIXED64,
    FieldDescriptor.TYPE_FIXED64: FIXED64,
    FieldDescriptor.TYPE_SFIXED64: FIXED64,
    FieldDescriptor.TYPE_FLOAT: FIXED32,
    FieldDescriptor.TYPE_FIXED32: FIXED32,
    FieldDescriptor.TYPE_SFIXED32: FIXED32,
    FieldDescriptor.TYPE_STRING: LENGTH,
    FieldDescriptor.TYPE_BYTES: LENGTH,
    FieldDescriptor.TYPE_MESSAGE: LENGTH,
}
EDGES = [
    0,
    1,
    2,
    3,
    5,
    26,
    27,
    60,
    61,
    64,
    127,
    128,
    255,
    256,
    257,
    1000,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
]
FLOATS = [0.0, -0.0, 1.0, 0.5, -1.0, 1e-3, 1e3, 5e-324, 1.7e308, float("inf"), float("-inf"), float("nan")]
WORDS = [
    "",
    "i1",
    "i2",
    "i59",
    "i60",
    "<a_1>",
    "<a_1><b_2>",
    "??",
    "\0",
    "\ufeff",
    "\U0010ffff" * 99,
    "é" * 400,
    "u1",
    "g1",
]
NOT_UTF8 = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"i1\xe2\x82"]
REPEATS = [0, 1, 2, 5, 61, 300, 20_000]

varints = st.one_of(st.sampled_from(EDGES), st.integers(0, 2**64 - 1))
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=20), st.integers(0, 63).map("i{}".format))


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """What stands before a field."""
    return varint(number << 3 | wire_type)


def prefixed(data: bytes) -> bytes:
    """Data behind its length."""
    return varint(len(data)) + data


def encodings(kind: Descriptor) -> st.SearchStrategy[bytes]:
    """Up to six fields in any order, most of them of the type; later ones override or extend earlier ones."""
    known = [_field(each) for each in kind.fields]
    return st.lists(st.one_of(*known, *known, unknown), max_size=6).map(b"".join)


def _field(field: FieldDescriptor) -> st.SearchStrategy[bytes]:
    value, wire_type = _value(field), WIRE_TYPES.get(field.type, VARINT)
    written = value.map(lambda data: tag(field.number, wire_type) + data)
    mistyped = _of_any_type(st.just(field.number))
    if not field.is_repeated:
        return st.one_of(written, written, written, mistyped)
    # A repeated field a thousand times over is one drawn value: what is drawn is bounded, what is sent need not be.
    repeated = st.builds(lambda data, times: data * times, written, st.sampled_from(REPEATS))
    several = st.lists(written, max_size=4).map(b"".join)
    forms = [written, several, repeated, mistyped]
    if wire_type != LENGTH:
        packed = st.builds(lambda data, times: prefixed(data * times), value, st.sampled_from(REPEATS))
        forms.append(packed.map(lambda data: tag(field.number, LENGTH) + data))
    return st.one_of(forms)


def _value(field: FieldDescriptor) -> st.SearchStrategy[bytes]:
    """A value without its tag: any that the type allows, and for strings some that it does not."""
    kind = field.type
    if kind == FieldDescriptor.TYPE_MESSAGE:
        return encodings(field.message_type).map(prefixed)
    if kind == FieldDescriptor.TYPE_STRING:
        good = texts.map(lambda text: prefixed(text.encode()))
        return st.one_of(good, good, good, st.sampled_from(NOT_UTF8).map(prefixed))
    if kind == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40).map(prefixed)
    wire_type = WIRE_TYPES.get(kind, VARINT)
    if wire_type == VARINT:
        if kind == FieldDescriptor.TYPE_ENUM:
            return st.one_of(st.sampled_from([each.number for each in field.enum_type.values]), varints).map(varint)
        return varints.map(varint)
    numbers = st.one_of(st.sampled_from(FLOATS), st.floats(width=64 if wire_type == FIXED64 else 32))
    return numbers.map(lambda number: _float(number, wire_type))


def _float(number: float, wire_type: int) -> bytes:
    if wire_type == FIXED64:
        return struct.pack("<d", number)
    return struct.pack("<f", max(min(number, 3.4e38), -3.4e38) if number - number == 0 else number)


def _of_any_type(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """A field whose wire type nobody has asked what it should be; among them nested groups, and types 6 and 7."""
    return st.one_of(
        st.builds(lambda number, value: tag(number, VARINT) + varint(value), numbers, varints),
        st.builds(lambda number, data: tag(number, FIXED64) + data, numbers, st.binary(min_size=8, max_size=8)),
        st.builds(lambda number, data: tag(number, FIXED32) + data, numbers, st.binary(min_size=4, max_size=4)),
        st.builds(lambda number, data: tag(number, LENGTH) + prefixed(data), numbers, st.binary(max_size=30)),
        st.builds(lambda number, claim: tag(number, LENGTH) + varint(claim), numbers, varints),
        st.builds(_groups, numbers, st.sampled_from([1, 50, 99, 101, 5000]), st.booleans()),
        st.builds(lambda number, wire_type: tag(number, wire_type), numbers, st.sampled_from([GROUP_END, 6, 7])),
    )


def _groups(number: int, depth: int, ended: bool) -> bytes:
    return tag(number, GROUP) * depth + (tag(number, GROUP_END) * depth if ended else b"")


unknown = _of_any_type(st.one_of(st.integers(0, 40), st.sampled_from([19_000, 2**29 - 1])))


def mutant(data: bytes, random: Random) -> bytes:
    """The same bytes after one to four accidents; of noise alone once in a while."""
    if random.random() < 0.05:
        return random.randbytes(random.randrange(200))
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(out) + 1)
        match random.randrange(6):
            case 0 if out:
                out[at % len(out)] ^= 1 << random.randrange(8)
            case 1 if out:
                out[at % len(out)] = random.choice((0, 1, 127, 128, 255))
            case 2:
                out[at:at] = random.randbytes(random.randint(1, 8))
            case 3:
                del out[at : at + random.randint(1, 8)]
            case 4:
                del out[at:]
            case _:
                out[at:at] = out[at : at + random.randint(1, 60)]
    return bytes(out)
