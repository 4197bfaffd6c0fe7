//! Protobuf's wire format, for messages that hold numbers and bytes: a key and a value, until the end.
//!
//! Deliberately absent: groups and fixed-width numbers. No type that we read has them, so they are malformed.

use prost::encoding::{WireType, decode_key, decode_varint};

use super::{Read, malformed, opaque};

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    /// What a field holds that isn't there.
    pub(super) fn zero(varint: bool) -> Self {
        if varint { Self::Varint(0) } else { Self::Bytes(&[]) }
    }

    pub(super) fn varint(self) -> Read<u64> {
        match self {
            Self::Varint(number) => Ok(number),
            // A list of numbers may be packed into bytes; no client of Kubernetes does.
            Self::Bytes(_) => opaque("bytes stand where a number is meant"),
        }
    }

    pub(super) fn bytes(self) -> Read<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) => malformed("a number stands where bytes are meant"),
        }
    }
}

/// The fields of one message.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and value; `None` at the end.
    pub(super) fn field(&mut self) -> Read<Option<(u32, Wire<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        // Go cuts a number to 32 bits, others don't: one that is larger is none.
        let Ok((number, kind)) = decode_key(&mut self.rest) else {
            return malformed("a field has an impossible number or wire type");
        };
        let wire = match kind {
            WireType::Varint => match decode_varint(&mut self.rest) {
                Ok(number) => Wire::Varint(number),
                Err(_) => return malformed("a number is cut off, or has more than 64 bits"),
            },
            WireType::LengthDelimited => match delimited(&mut self.rest) {
                Some(bytes) => Wire::Bytes(bytes),
                None => return malformed("it is shorter than it says"),
            },
            _ => return malformed("a field is of a wire type that Kubernetes has none of"),
        };
        Ok(Some((number, wire)))
    }
}

/// A length and as many bytes, taken off the front; `None` where there are fewer.
pub(in crate::describe) fn delimited<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (within, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(within)
}
