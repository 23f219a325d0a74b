//! Text that arrives in pieces, checked as it comes (RFC 6455 section 8.1).

use ascii::AsciiStr;

use super::octets::Short;

/// Text from this size on simdutf8 checks with vectors; shorter it leaves to std.
const LONG: usize = 64;

/// These octets cannot begin or continue any UTF-8 text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

/// All these octets as text, if that is what they are.
pub(super) fn check(octets: &[u8]) -> Result<&str, Invalid> {
    if octets.len() < LONG
        && let Ok(text) = AsciiStr::from_ascii(octets)
    {
        return Ok(text.as_str());
    }
    simdutf8::basic::from_utf8(octets).map_err(|_| Invalid)
}

/// The valid text so far, and the first octets of a character whose rest has not come yet.
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

    /// Octets so far.
    pub(super) fn len(&self) -> usize {
        self.whole.len().saturating_add(self.started.len())
    }

    #[cfg(fuzzing)]
    pub(super) fn capacity(&self) -> usize {
        self.whole.capacity()
    }

    pub(super) fn reserve(&mut self, octets: usize) {
        self.whole.reserve(octets);
    }

    pub(super) fn reserve_exact(&mut self, octets: usize) {
        self.whole.reserve_exact(octets);
    }

    /// Appends a piece. Fails at the first octet that cannot be right, whatever follows it.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while !self.started.is_empty() {
            let Some((&octet, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.continue_character(octet)?;
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(text) => self.whole.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(Invalid),
            Err(error) => {
                let (valid, started) = piece.split_at(error.valid_up_to());
                self.whole.push_str(check(valid)?);
                for &octet in started {
                    self.continue_character(octet)?;
                }
            }
        }
        Ok(())
    }

    /// The text, if it does not end within a character.
    pub(super) fn finish(&self) -> Result<&str, Invalid> {
        if self.started.is_empty() { Ok(&self.whole) } else { Err(Invalid) }
    }

    fn continue_character(&mut self, octet: u8) -> Result<(), Invalid> {
        self.started.push(octet).ok_or(Invalid)?;
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

    /// The index of the octet that was refused, or the text.
    fn octet_by_octet(octets: &[u8]) -> Result<String, usize> {
        let mut text = Text::default();
        for (index, octet) in octets.iter().enumerate() {
            text.push(&[*octet]).map_err(|_| index)?;
        }
        text.finish().map(str::to_string).map_err(|_| octets.len())
    }

    #[test]
    fn any_octet_at_any_place_of_short_and_long_text_is_judged_as_std_does() {
        for len in 0..LONG * 2 + 2 {
            let mut octets = vec![b'a'; len];
            assert_eq!(check(&octets), Ok(&*"a".repeat(len)));
            for place in 0..len {
                for octet in [0x00, 0x7f, 0x80, 0xc3, 0xff] {
                    octets[place] = octet;
                    assert_eq!(check(&octets).ok(), str::from_utf8(&octets).ok());
                }
                octets[place] = b'a';
            }
        }
    }

    #[test]
    fn text_may_be_cut_anywhere() {
        let whole = "a\u{e9}\u{20ac}\u{1f600}\u{7ff}\u{ffff}\u{10ffff}\0z";
        assert_eq!(octet_by_octet(whole.as_bytes()).as_deref(), Ok(whole));
        for cut in 0..whole.len() {
            let mut text = Text::default();
            text.push(&whole.as_bytes()[..cut]).unwrap();
            assert_eq!(text.len(), cut);
            text.push(&whole.as_bytes()[cut..]).unwrap();
            assert_eq!(text.finish(), Ok(whole));
        }
    }

    #[test]
    fn the_first_wrong_octet_is_refused_at_once() {
        for (octets, index) in [
            (&b"a\xff"[..], 1),
            (b"\xc0\xaf", 0),
            (b"\xe0\x9f\xbf", 1),
            (b"\xed\xa0\x80", 1),
            (b"\xf4\x90\x80\x80", 1),
            (b"\xf5", 0),
            (b"\xe2\x82\x41", 2),
            (b"\x80", 0),
        ] {
            assert_eq!(octet_by_octet(octets), Err(index), "{octets:x?}");
            assert_eq!(Text::default().push(octets), Err(Invalid), "{octets:x?}");
        }
    }

    #[test]
    fn a_character_cut_short_is_no_text() {
        assert_eq!(octet_by_octet(b"a\xe2\x82"), Err(3));
    }
}
