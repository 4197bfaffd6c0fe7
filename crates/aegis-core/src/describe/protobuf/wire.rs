//! Protobuf's wire format, for messages that hold numbers and bytes: a key and a value, until the end.
//!
//! Deliberately absent: groups and fixed-width numbers. No type that we read has them, so they are malformed.

use super::{Read, malformed, opaque};

/// The largest field number.
const MAX_FIELD: u64 = (1 << 29) - 1;

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
        let key = self.varint()?;
        let number = match u32::try_from(key >> 3) {
            Ok(number) if number > 0 && u64::from(number) <= MAX_FIELD => number,
            // Go cuts a number to 32 bits, others don't.
            _ => return malformed("a field has an impossible number"),
        };
        let wire = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            2 => Wire::Bytes(self.bytes()?),
            _ => return malformed("a field is of a wire type that Kubernetes has none of"),
        };
        Ok(Some((number, wire)))
    }

    /// Up to ten bytes of seven bits each, the lowest first.
    fn varint(&mut self) -> Read<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.rest.split_first() else {
                return malformed("it ends in the middle of a number");
            };
            self.rest = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return malformed("a number has more than 64 bits");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        malformed("a number has more than 64 bits")
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.varint()?;
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let Some((bytes, rest)) = split else {
            return malformed("it is shorter than it says");
        };
        self.rest = rest;
        Ok(bytes)
    }
}
