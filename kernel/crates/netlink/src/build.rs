//! Building messages.

use alloc::vec::Vec;

use abi::netlink::{ALIGN, NLA_F_NESTED, NlAttr, NlMsgHdr, NlmFlags};
use zerocopy::{Immutable, IntoBytes};

const ATTRIBUTE: usize = size_of::<NlAttr>();

/// A datagram in the making. Everything is kept aligned, and a message's length covers its padding.
///
/// # Invariants
/// `start` and an open [`Nest`] lie within `bytes`.
#[derive(Default)]
pub struct Builder {
    bytes: Vec<u8>,
    /// Where the message being built begins.
    start: usize,
}

/// An attribute that others are being put into; [`Builder::end`] closes it.
#[must_use]
pub struct Nest(usize);

impl Builder {
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Makes room for so many bytes more, of which a user may have chosen the number. False if there is none.
    #[must_use]
    pub fn try_reserve(&mut self, bytes: usize) -> bool {
        self.bytes.try_reserve(bytes).is_ok()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Begins a message; [`Self::finish`] gives it its length.
    pub fn begin(&mut self, kind: u16, flags: NlmFlags, seq: u32, pid: u32) {
        self.start = self.bytes.len();
        self.put(&NlMsgHdr {
            len: 0,
            kind,
            flags: flags.bits(),
            seq,
            pid,
        });
    }

    /// Puts bytes, and what aligns them.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }

    /// Puts a fixed structure.
    pub fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        self.raw(value.as_bytes());
    }

    /// Puts an attribute. Values are the kernel's own, far below the 64 KiB that a length counts.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(ATTRIBUTE + value.len()).expect("attributes are short");
        self.put(&NlAttr { len, kind });
        self.raw(value);
    }

    /// Puts an attribute that is a number or a fixed structure.
    pub fn number<T: IntoBytes + Immutable>(&mut self, kind: u16, value: T) {
        self.attribute(kind, value.as_bytes());
    }

    /// Puts an attribute that is a string, with its NUL.
    pub fn text(&mut self, kind: u16, text: &[u8]) {
        let mut value = Vec::with_capacity(text.len() + 1);
        value.extend_from_slice(text);
        value.push(0);
        self.attribute(kind, &value);
    }

    /// Begins an attribute that holds others, not marked so, as most protocols have it.
    pub fn nest(&mut self, kind: u16) -> Nest {
        let at = self.bytes.len();
        self.put(&NlAttr { len: 0, kind });
        Nest(at)
    }

    /// As [`Self::nest`], marked as nested.
    pub fn marked_nest(&mut self, kind: u16) -> Nest {
        self.nest(kind | NLA_F_NESTED)
    }

    pub fn end(&mut self, nest: Nest) {
        let len = u16::try_from(self.bytes.len() - nest.0).expect("attributes are short");
        self.patch(nest.0, &len.to_ne_bytes());
    }

    /// Ends the message.
    pub fn finish(&mut self) {
        let len = (self.bytes.len() - self.start) as u32;
        self.patch(self.start, &len.to_ne_bytes());
    }

    /// Takes the last message out, into a datagram of its own.
    #[must_use]
    pub fn split_last(&mut self) -> Builder {
        let bytes = self.bytes.split_off(self.start);
        self.start = self.bytes.len();
        Builder { bytes, start: 0 }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_cover_padding_of_messages_but_not_of_attributes() {
        let mut builder = Builder::new();
        builder.begin(3, NlmFlags::MULTI, 1, 2);
        builder.attribute(5, &[1, 2, 3, 4, 5]);
        builder.finish();
        let bytes = builder.into_bytes();
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[..8], [28, 0, 0, 0, 3, 0, 2, 0]);
        assert_eq!(bytes[16..], [9, 0, 5, 0, 1, 2, 3, 4, 5, 0, 0, 0]);
    }

    #[test]
    fn the_last_message_can_go_elsewhere() {
        let mut builder = Builder::new();
        builder.begin(3, NlmFlags::empty(), 1, 2);
        builder.finish();
        let before = builder.len();
        builder.begin(3, NlmFlags::empty(), 2, 2);
        builder.put(&1_u64);
        builder.finish();
        let last = builder.split_last();
        assert_eq!(builder.len(), before);
        let bytes = last.into_bytes();
        assert_eq!((bytes.len(), bytes[0], bytes[8]), (24, 24, 2));
    }
}
