//! Walking over messages and attributes.

use abi::netlink::{ALIGN, NLA_TYPE_MASK, NlAttr, NlMsgHdr, NlmFlags};
use zerocopy::FromBytes;

const HEADER: usize = size_of::<NlMsgHdr>();
const ATTRIBUTE: usize = size_of::<NlAttr>();

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub header: NlMsgHdr,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    pub fn flags(&self) -> NlmFlags {
        NlmFlags::from_bits_retain(self.header.flags)
    }

    /// The fixed structure that the payload begins with, and the attributes behind it.
    pub fn split<T: FromBytes>(&self) -> Option<(T, Attributes<'a>)> {
        let (fixed, _) = T::read_from_prefix(self.payload).ok()?;
        let rest = self.payload.get(size_of::<T>().next_multiple_of(ALIGN)..);
        Some((fixed, Attributes::new(rest.unwrap_or_default())))
    }
}

/// The messages of a datagram, up to the first that is not whole.
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub fn new(datagram: &'a [u8]) -> Self {
        Messages(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, _) = NlMsgHdr::read_from_prefix(self.0).ok()?;
        let len = usize::try_from(header.len).ok()?;
        let payload = self.0.get(HEADER..len)?;
        // The last message's padding may be missing.
        let next = len.next_multiple_of(ALIGN);
        self.0 = self.0.get(next..).unwrap_or_default();
        Some(Message { header, payload })
    }
}

/// An attribute: its type without the flags, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as a fixed structure or number; what follows it is ignored, as in Linux.
    pub fn read<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(self.value).ok().map(|(value, _)| value)
    }

    /// The value as a string, up to its NUL.
    pub fn text(&self) -> &'a [u8] {
        let end = self.value.iter().position(|byte| *byte == 0);
        end.and_then(|end| self.value.get(..end))
            .unwrap_or(self.value)
    }
}

/// Attributes, up to the first that is not whole.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Attributes(bytes)
    }

    /// The attribute of this type that counts: the last.
    pub fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.filter(|attribute| attribute.kind == kind).last()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = NlAttr::read_from_prefix(self.0).ok()?;
        let len = usize::from(header.len);
        let value = self.0.get(ATTRIBUTE..len)?;
        self.0 = self
            .0
            .get(len.next_multiple_of(ALIGN)..)
            .unwrap_or_default();
        let kind = header.kind & NLA_TYPE_MASK;
        Some(Attribute { kind, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;

    #[test]
    fn what_is_built_is_taken_apart() {
        let mut builder = Builder::new();
        for seq in 1..3 {
            builder.begin(16, NlmFlags::REQUEST, seq, 7);
            builder.put(&0x0102_0304_u32);
            builder.text(3, b"lo");
            let nest = builder.nest(9);
            builder.number(1, 5_u32);
            builder.end(nest);
            builder.finish();
        }
        let bytes = builder.into_bytes();
        let messages: Vec<_> = Messages::new(&bytes).collect();
        assert_eq!(messages.len(), 2);
        let message = &messages[1];
        assert_eq!((message.header.seq, message.header.pid), (2, 7));
        assert_eq!(message.flags(), NlmFlags::REQUEST);
        let (fixed, attributes) = message.split::<u32>().unwrap();
        assert_eq!(fixed, 0x0102_0304);
        assert_eq!(attributes.find(3).unwrap().text(), b"lo");
        let nested = Attributes::new(attributes.find(9).unwrap().value);
        assert_eq!(nested.find(1).unwrap().read::<u32>(), Some(5));
        assert!(attributes.find(4).is_none());
    }

    #[test]
    fn broken_lengths_end_the_walk() {
        let header = |len: u32| {
            let mut bytes = vec![0; 20];
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            bytes
        };
        for (len, count) in [
            (0, 0),
            (15, 0),
            (16, 1),
            (17, 1),
            (20, 1),
            (21, 0),
            (u32::MAX, 0),
        ] {
            assert_eq!(Messages::new(&header(len)).count(), count, "{len}");
        }
        for (bytes, count) in [
            (&[][..], 0),
            (&[4, 0, 1], 0),
            (&[3, 0, 1, 0], 0),
            (&[4, 0, 1, 0], 1),
            (&[5, 0, 1, 0], 0),
            (&[5, 0, 1, 0, 9], 1),
        ] {
            assert_eq!(Attributes::new(bytes).count(), count, "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_break_the_walks() {
        let mut state = 1_u32;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..48)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Small numbers make lengths that fit now and then.
                    (state >> 24) as u8 % 24
                })
                .collect();
            for message in Messages::new(&bytes) {
                assert!(message.payload.len() <= bytes.len());
            }
            assert!(Attributes::new(&bytes).count() <= bytes.len() / ATTRIBUTE);
        }
    }
}
