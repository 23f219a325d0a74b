//! Text that arrives in pieces, checked as it comes (RFC 6455 section 8.1).

use ascii::AsciiStr;

use super::bytes::Short;
use super::close::Violation;
use super::memory;

/// simdutf8 checks text of this many bytes with vectors, and leaves shorter text to std.
const LONG: usize = 64;

/// These bytes cannot begin or continue any UTF-8 text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// These bytes as text, if all of them are text.
pub(super) fn check(bytes: &[u8]) -> Result<&str, Invalid> {
    if bytes.len() < LONG
        && let Ok(text) = AsciiStr::from_ascii(bytes)
    {
        return Ok(text.as_str());
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| Invalid)
}

/// The valid text so far, and the first bytes of a character whose rest has not come yet.
#[derive(Debug, Default)]
pub(super) struct Text {
    whole: String,
    started: Short<4>,
}

impl Text {
    /// Collects text in this empty buffer.
    pub(super) fn within(buffer: Vec<u8>) -> Text {
        Text { whole: String::from_utf8(buffer).unwrap_or_default(), ..Text::default() }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.whole.into_bytes()
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.whole.len().saturating_add(self.started.len())
    }

    /// Bytes of memory for them.
    pub(super) fn capacity(&self) -> usize {
        self.whole.capacity()
    }

    /// Makes room for so many bytes in all.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Violation> {
        let more = bytes.saturating_sub(self.whole.len());
        memory::make_exact_text_room(&mut self.whole, more)
    }

    /// Appends a piece. Fails at the first byte that cannot be right, whatever follows it.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while !self.started.is_empty() {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.continue_character(byte)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(text) => self.whole.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(Invalid),
            Err(error) => {
                let (valid, started) = piece.split_at(error.valid_up_to());
                self.whole.push_str(check(valid)?);
                for &byte in started {
                    self.continue_character(byte)?;
                }
            }
        }
        Ok(())
    }

    /// The text, if it does not end within a character.
    pub(super) fn finish(&self) -> Result<&str, Invalid> {
        if self.started.is_empty() { Ok(&self.whole) } else { Err(Invalid) }
    }

    fn continue_character(&mut self, byte: u8) -> Result<(), Invalid> {
        self.started.push(byte).ok_or(Invalid)?;
        match str::from_utf8(self.started.as_slice()) {
            Ok(character) => {
                self.whole.push_str(character);
                self.started.clear();
                Ok(())
            }
            Err(error) if error.error_len().is_some() => Err(Invalid),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the byte that was refused, or the text.
    fn byte_by_byte(bytes: &[u8]) -> Result<String, usize> {
        let mut text = Text::default();
        for (index, byte) in bytes.iter().enumerate() {
            text.push(&[*byte]).map_err(|_| index)?;
        }
        text.finish().map(str::to_string).map_err(|_| bytes.len())
    }

    #[test]
    fn any_byte_at_any_place_of_short_and_long_text_is_judged_as_std_does() {
        for len in 0..LONG * 2 + 2 {
            let mut bytes = vec![b'a'; len];
            assert_eq!(check(&bytes), Ok(&*"a".repeat(len)));
            for place in 0..len {
                for byte in [0x00, 0x7f, 0x80, 0xc3, 0xff] {
                    bytes[place] = byte;
                    assert_eq!(check(&bytes).ok(), str::from_utf8(&bytes).ok());
                }
                bytes[place] = b'a';
            }
        }
    }

    #[test]
    fn text_may_be_cut_anywhere() {
        let whole = "a\u{e9}\u{20ac}\u{1f600}\u{7ff}\u{ffff}\u{10ffff}\0z";
        assert_eq!(byte_by_byte(whole.as_bytes()).as_deref(), Ok(whole));
        for cut in 0..whole.len() {
            let mut text = Text::default();
            text.push(&whole.as_bytes()[..cut]).unwrap();
            assert_eq!(text.len(), cut);
            text.push(&whole.as_bytes()[cut..]).unwrap();
            assert_eq!(text.finish(), Ok(whole));
        }
    }

    #[test]
    fn the_first_wrong_byte_is_refused_at_once() {
        for (bytes, index) in [
            (&b"a\xff"[..], 1),
            (b"\xc0\xaf", 0),
            (b"\xe0\x9f\xbf", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xf4\x90\x80\x80", 1),
            (b"\xf5", 0),
            (b"\xe2\x82\x41", 2),
            (b"\x80", 0),
        ] {
            assert_eq!(byte_by_byte(bytes), Err(index), "{bytes:x?}");
            assert_eq!(Text::default().push(bytes), Err(Invalid), "{bytes:x?}");
        }
    }

    #[test]
    fn a_character_cut_short_is_no_text() {
        assert_eq!(byte_by_byte(b"a\xe2\x82"), Err(3));
    }
}
