"""A PKCS#12 file with the keys of two others, as Java's keytool makes them and OpenSSL and cryptography do not."""

from __future__ import annotations

from reconciler.pki.asn1 import children, first_element


def two_keys(one: bytes, other: bytes) -> bytes:
    """A PKCS#12 file, without integrity check, of what two others hold (RFC 7292, section 4)."""

    def encode(tag: int, *parts: bytes | memoryview) -> bytes:
        body = b"".join(parts)
        return bytes([tag, 0x83]) + len(body).to_bytes(3, "big") + body

    def safes(content: bytes) -> memoryview:
        _, content_info, *_ = children(first_element(content)[0])
        _, explicit = children(content_info)
        (octets,) = children(explicit)
        return first_element(octets.content)[0].content

    both = encode(0x04, encode(0x30, safes(one), safes(other)))
    data = bytes.fromhex("06092a864886f70d010701")
    return encode(0x30, b"\x02\x01\x03", encode(0x30, data, encode(0xA0, both)))
