//! Attributes of netlink messages, read where they lie: of thousands of interfaces there are a hundred thousand.

use netlink_packet_core::NLA_TYPE_MASK;

/// Length and number of an attribute, two bytes each.
const HEADER_LEN: usize = 4;

/// The attributes of a message or a nest by their numbers, in the order in which they came. What follows a broken one is
/// lost.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(short_at(rest, 0)?);
        let number = short_at(rest, 2)? & NLA_TYPE_MASK;
        let value = rest.get(HEADER_LEN..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// The first attribute of this number.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = attributes(bytes);
    all.find_map(|(number, value)| (number == wanted).then_some(value))
}

/// Text that ends at its first zero byte.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

/// A number of 32 bits in the machine's order.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// A number of 16 bits in the machine's order.
pub(crate) fn short_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Emitable as _, NLA_F_NESTED};

    use super::*;

    #[test]
    fn numbers_lose_their_flags_and_what_is_broken_ends_the_rest() {
        let all = [
            DefaultNla::new(7 | NLA_F_NESTED, vec![1, 2, 3]),
            DefaultNla::new(9, Vec::new()),
            DefaultNla::new(7, vec![4]),
        ];
        let mut bytes = vec![0; all.as_slice().buffer_len()];
        all.as_slice().emit(&mut bytes);
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(7, &[1, 2, 3][..]), (9, &[]), (7, &[4])]);
        assert_eq!(attribute(&bytes, 7), Some(&[1, 2, 3][..]));
        assert_eq!(attribute(&bytes, 8), None);
        for end in 0..bytes.len() {
            assert!(attributes(&bytes[..end]).count() <= 3, "no panic at {end}");
        }
        // Shorter than its own header, and longer than there is.
        for length in [0_u8, 3, 200] {
            bytes[8] = length;
            assert_eq!(attributes(&bytes).count(), 1, "{length}");
        }
    }

    #[test]
    fn texts_end_at_their_first_zero() {
        assert_eq!(text_of(b"eth0\0\0x"), "eth0");
        assert_eq!(text_of(b"eth0"), "eth0");
        assert_eq!(text_of(b""), "");
    }
}
