"""attributedBody as macOS writes it: an NSMutableAttributedString in a typed stream."""

from __future__ import annotations

_HEAD = (
    b"\x04\x0bstreamtyped\x81\xe8\x03\x84\x01@\x84\x84\x84\x19NSMutableAttributedString\x00"
    b"\x84\x84\x12NSAttributedString\x00\x84\x84\x08NSObject\x00\x85\x92"
    b"\x84\x84\x84\x0fNSMutableString\x01\x84\x84\x08NSString\x01\x95\x84\x01+"
)
_TAIL = b"\x92\x84\x84\x84\x0cNSDictionary\x00\x95\x84\x01i\x00\x86\x86"


def attributed(text: str) -> bytes:
    """The blob for a text without attributes."""
    raw = text.encode()
    units = len(text.encode("utf-16-le")) // 2
    return b"".join([_HEAD, _number(len(raw)), raw, b"\x86\x84\x02iI\x01", _number(units), _TAIL])


def _number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else b"\x81" + value.to_bytes(2, "little")
