//! Close codes (RFC 6455 section 7.4), and the one table from a broken rule to its code.

use std::fmt;

use super::Version;

/// The close codes that RFC 6455 section 7.4.1 and the IANA registry name, and what wsloop means
/// by them.
pub mod code {
    /// The purpose was fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The server stops, or the page was left.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A kind of message that this endpoint does not accept.
    pub const UNSUPPORTED_DATA: u16 = 1003;
    /// Never sent: the peer's close frame named no code.
    pub const NO_STATUS: u16 = 1005;
    /// Never sent: the connection ended without a closing handshake.
    pub const ABNORMAL: u16 = 1006;
    /// Text that is not UTF-8.
    pub const INVALID_DATA: u16 = 1007;
    /// A limit that has no code of its own.
    pub const POLICY: u16 = 1008;
    /// A message over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// The server cannot go on with this connection.
    pub const INTERNAL_ERROR: u16 = 1011;
    /// The server is overloaded: come back later.
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// The longest reason a close frame can carry, in bytes (RFC 6455 section 5.5: 125 less the code).
pub(super) const MAX_REASON: usize = 123;

/// A rule that a peer broke, or another reason why its message cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Unmasked,
    ReservedBit,
    ReservedOpcode,
    LengthNotMinimal,
    LengthTopBit,
    ControlFragmented,
    ControlTooLong,
    ContinuationOfNothing,
    MessageInMessage,
    CloseTooShort,
    CloseCode,
    CloseReason,
    NotUtf8,
    #[cfg_attr(not(feature = "deflate"), expect(dead_code))]
    NotDeflated,
    MessageTooBig,
    TooManyFragments,
    /// No rule of the peer's: the message is within the limits, but memory for it cannot be had.
    NoMemory,
}

impl Violation {
    /// The close code that tells the peer, and the reason in words.
    fn row(self) -> (u16, &'static str) {
        match self {
            Violation::Unmasked => (code::PROTOCOL_ERROR, "frame not masked"),
            Violation::ReservedBit => (code::PROTOCOL_ERROR, "reserved bit set"),
            Violation::ReservedOpcode => (code::PROTOCOL_ERROR, "reserved opcode"),
            Violation::LengthNotMinimal => {
                (code::PROTOCOL_ERROR, "length not in its shortest form")
            }
            Violation::LengthTopBit => (code::PROTOCOL_ERROR, "length beyond 63 bits"),
            Violation::ControlFragmented => (code::PROTOCOL_ERROR, "control frame in fragments"),
            Violation::ControlTooLong => (code::PROTOCOL_ERROR, "control frame over 125 bytes"),
            Violation::ContinuationOfNothing => (code::PROTOCOL_ERROR, "continuation of nothing"),
            Violation::MessageInMessage => (code::PROTOCOL_ERROR, "new message inside another"),
            Violation::CloseTooShort => (code::PROTOCOL_ERROR, "close frame of one byte"),
            Violation::CloseCode => (code::PROTOCOL_ERROR, "close code that may not be sent"),
            Violation::CloseReason => (code::INVALID_DATA, "close reason not UTF-8"),
            Violation::NotUtf8 => (code::INVALID_DATA, "text not UTF-8"),
            Violation::NotDeflated => (code::INVALID_DATA, "compressed message damaged"),
            Violation::MessageTooBig => (code::TOO_BIG, "message over the limit"),
            Violation::TooManyFragments => (code::POLICY, "too many fragments in a message"),
            Violation::NoMemory => (code::INTERNAL_ERROR, "no memory for this message"),
        }
    }

    pub(crate) fn code(self) -> u16 {
        self.row().0
    }

    pub(crate) fn reason(self) -> &'static str {
        self.row().1
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Whether a code may stand in a close frame (RFC 6455 section 7.4.2, the IANA registry up to
/// 1014, and for the drafts 1004, which meant "too large").
pub(crate) fn may_be_sent(version: Version, code: u16) -> bool {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => true,
        1004 => version < Version::Rfc6455,
        _ => false,
    }
}

/// Reads a close frame's payload.
pub(super) fn parse(version: Version, payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(Violation::CloseTooShort),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(version, code) {
                return Err(Violation::CloseCode);
            }
            let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// The longest beginning of a reason that fits a close frame and ends with a whole character.
pub(crate) fn truncate_reason(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_checked() {
        fn parse(payload: &[u8]) -> Result<Option<(u16, &str)>, Violation> {
            super::parse(Version::Rfc6455, payload)
        }
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"\x03\xe8bye"), Ok(Some((1000, "bye"))));
        assert_eq!(parse(b"\x03"), Err(Violation::CloseTooShort));
        assert_eq!(parse(b"\x03\xe8\xff"), Err(Violation::CloseReason));
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535u16] {
            assert_eq!(parse(&code.to_be_bytes()), Err(Violation::CloseCode), "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999u16] {
            assert_eq!(parse(&code.to_be_bytes()), Ok(Some((code, ""))), "{code}");
        }
    }

    #[test]
    fn the_drafts_know_1004() {
        assert!(may_be_sent(Version::Hybi08, 1004) && !may_be_sent(Version::Rfc6455, 1004));
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let euros = "\u{20ac}".repeat(50);
        assert_eq!(truncate_reason(&euros).len(), 123);
        assert_eq!(truncate_reason(&format!("x{euros}")).len(), 121);
        assert_eq!(truncate_reason("bye"), "bye");
    }
}
