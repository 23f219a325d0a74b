//! From frames to messages (RFC 6455 sections 5.4 to 5.6), for hybi-07 and -08 too.

use super::bytes::Short;
use super::close::{self, Violation};
use super::deflate::{self, Agreed};
use super::frame::{BINARY, CLOSE, CONTINUATION, Head, MAX_HEAD, PING, PONG, TEXT};
use super::memory;
use super::partial::Partial;
use super::utf8;
use super::{Event, Limits, Message, Version, take};
use crate::proto::pool::Pool;

/// Bytes are read straight into the message only if at least this many are still missing: more than a
/// control frame has.
const LAND_FROM: usize = if cfg!(fuzzing) { 126 } else { 16 * 1024 };

#[derive(Debug, Clone, Copy)]
enum State {
    /// Waiting for the rest of a frame's head; these bytes of it have come.
    Head(Short<MAX_HEAD>),
    /// Reading the payload of this frame.
    Payload(Head),
    /// After the peer's close, or a broken rule: nothing more is read.
    Done,
}

impl State {
    /// Nothing of the next frame has come.
    fn head() -> State {
        State::Head(Short::default())
    }
}

/// What one step of the decoder led to.
enum Step<'i> {
    /// All input is used up.
    Starved,
    /// Some progress, but no event.
    Onward,
    /// A frame is whole: its opcode, and its payload, unmasked where it lay in the input.
    Frame(u8, &'i [u8]),
    /// A message begins in `Partial`.
    Begun,
    /// A message is whole in `Partial`.
    Message,
    /// A control frame of this opcode is whole in `Partial`.
    Control(u8),
}

/// Cuts a client's bytes into messages and control frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    version: Version,
    deflate: Option<Agreed>,
    state: State,
    partial: Option<Box<Partial>>,
    /// What the last event borrows from `partial`; it goes before the next event.
    lent: Option<Lent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    Message,
    Control,
}

impl Decoder {
    pub(super) fn new(version: Version, deflate: Option<Agreed>) -> Decoder {
        Decoder { version, deflate, state: State::head(), partial: None, lent: None }
    }

    /// See [`super::Decoder::next`].
    pub(super) fn next<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Option<Event<'e>> {
        if self.lent.is_some() {
            self.take_back(pool);
        }
        if let State::Head(begun) = &self.state {
            if input.is_empty() {
                return None;
            }
            if begun.is_empty()
                && self.partial.is_none()
                && let Some(event) = self.whole_frame(input, limits)
            {
                return Some(event);
            }
        }
        self.next_in_steps(input, limits, pool)
    }

    /// Everything that [`whole_frame`](Decoder::whole_frame) leaves.
    #[inline(never)]
    fn next_in_steps<'e, 'i: 'e>(
        &'e mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Option<Event<'e>> {
        loop {
            match self.step(input, limits, pool) {
                Err(violation) => return Some(self.fail(violation)),
                Ok(Step::Starved) => return None,
                Ok(Step::Onward) => {}
                Ok(Step::Frame(opcode, payload)) => return Some(self.deliver(opcode, payload)),
                Ok(Step::Begun) => return self.begun().map(Event::Begun),
                Ok(Step::Message) => return Some(self.deliver_message()),
                Ok(Step::Control(opcode)) => return Some(self.deliver_control(opcode)),
            }
        }
    }

    /// What nearly all frames are: a message or a control frame that lies whole in the input. It
    /// leaves no trace in the decoder. Everything else, broken rules too, is left to the steps.
    fn whole_frame<'i>(&mut self, input: &mut &'i mut [u8], limits: &Limits) -> Option<Event<'i>> {
        let (mut head, size) = Head::parse(input, self.version, self.deflate).ok()??;
        let end = size.checked_add(usize::try_from(head.len).ok()?)?;
        if !head.fin
            || head.opcode == CONTINUATION
            || head.deflated
            || head.len > limits.message as u64
            || end > input.len()
        {
            return None;
        }
        let payload = take(input, end).get_mut(size..)?;
        head.unmask(payload);
        Some(self.deliver(head.opcode, payload))
    }

    pub(super) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            let inflater = if partial.inflater.is_some() { deflate::Inflater::SIZE } else { 0 };
            let message = partial.capacity().saturating_add(partial.control.capacity());
            message.saturating_add(inflater)
        })
    }

    fn step<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Step<'i>, Violation> {
        match self.state {
            State::Head(begun) => self.read_head(begun, input, limits),
            State::Payload(frame) => self.read_payload(frame, input, limits, pool),
            State::Done => {
                *input = &mut [];
                Ok(Step::Starved)
            }
        }
    }

    fn read_head<'i>(
        &mut self,
        mut begun: Short<MAX_HEAD>,
        input: &mut &'i mut [u8],
        limits: &Limits,
    ) -> Result<Step<'i>, Violation> {
        let before = begun.len();
        if before == 0
            && let Some((head, size)) = Head::parse(input, self.version, self.deflate)?
        {
            take(input, size);
            return self.begin(head, limits);
        }
        let taken = input.iter().map_while(|&byte| begun.push(byte)).count();
        let Some((head, size)) = Head::parse(begun.as_slice(), self.version, self.deflate)? else {
            take(input, taken);
            self.state = State::Head(begun);
            return Ok(Step::Starved);
        };
        take(input, size.saturating_sub(before));
        self.begin(head, limits)
    }

    /// Starts a frame, if the message at hand and the limits allow it.
    fn begin(&mut self, head: Head, limits: &Limits) -> Result<Step<'static>, Violation> {
        if !head.is_control() {
            self.check_message(head, limits)?;
        }
        self.state = State::Payload(head);
        Ok(Step::Onward)
    }

    /// Section 5.4, and the limits: by the announced length, before any of it is stored.
    fn check_message(&mut self, head: Head, limits: &Limits) -> Result<(), Violation> {
        let open = self.partial.as_deref_mut().filter(|partial| partial.opcode.is_some());
        let (so_far, deflated) = match (&open, head.opcode) {
            (None, CONTINUATION) => return Err(Violation::ContinuationOfNothing),
            (Some(partial), CONTINUATION) if partial.inflater.is_some() => (partial.deflated, true),
            (Some(partial), CONTINUATION) => (partial.message_len(), false),
            (Some(_), _) => return Err(Violation::MessageInMessage),
            (None, _) => (0, head.deflated),
        };
        let limit = if deflated { deflate::longest(limits.message) } else { limits.message };
        if head.len > limit.saturating_sub(so_far) as u64 {
            return Err(Violation::MessageTooBig);
        }
        if let Some(partial) = open {
            partial.deflated = partial.deflated.saturating_add(head.len as usize);
            partial.continuations = partial.continuations.saturating_add(1);
            if partial.continuations >= limits.fragments {
                return Err(Violation::TooManyFragments);
            }
        }
        Ok(())
    }

    fn read_payload<'i>(
        &mut self,
        mut frame: Head,
        input: &mut &'i mut [u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<Step<'i>, Violation> {
        let piece = take(input, frame.to_come());
        frame.unmask(piece);
        let ended = frame.len == 0;
        self.state = if ended { State::head() } else { State::Payload(frame) };
        if frame.is_control() {
            return Ok(self.read_control(frame.opcode, piece, ended));
        }
        let fragmented = self.partial.as_ref().is_some_and(|partial| partial.opcode.is_some());
        if ended && frame.fin && !fragmented && !frame.deflated {
            return Ok(Step::Frame(frame.opcode, piece));
        }
        if piece.is_empty() && !ended {
            return Ok(Step::Starved);
        }
        let begun = self.keep(frame, piece, limits, pool)?;
        Ok(match (ended, frame.fin) {
            (true, true) => Step::Message,
            _ if begun => Step::Begun,
            (true, false) => Step::Onward,
            (false, _) => Step::Starved,
        })
    }

    fn read_control<'i>(&mut self, opcode: u8, piece: &'i [u8], ended: bool) -> Step<'i> {
        let kept = self.partial.as_ref().is_some_and(|partial| !partial.control.is_empty());
        if ended && !kept {
            return Step::Frame(opcode, piece);
        }
        if !piece.is_empty() {
            self.partial.get_or_insert_default().control.extend_from_slice(piece);
        }
        if ended { Step::Control(opcode) } else { Step::Starved }
    }

    /// Keeps a piece of a message that is not whole yet, or is compressed. True if it is the first.
    fn keep(
        &mut self,
        frame: Head,
        piece: &[u8],
        limits: &Limits,
        pool: &mut Pool,
    ) -> Result<bool, Violation> {
        let to_come = frame.to_come();
        let partial = self.partial.get_or_insert_default();
        let begins = partial.opcode.is_none();
        if begins {
            let announced = piece.len().saturating_add(to_come);
            partial.begin(frame.opcode, pool.take(announced));
            if frame.deflated {
                partial.inflater = pool.contexts.take_inflater();
                partial.deflated = announced;
            }
        }
        let Some(mut inflater) = partial.inflater.take() else {
            partial.reserve(piece.len(), to_come, frame.fin)?;
            partial.push(piece)?;
            return Ok(begins);
        };
        let last = frame.fin && to_come == 0;
        let before = partial.message_len();
        partial.inflate(&mut inflater, piece, last, limits.message)?;
        pool.contexts.note_inflated(partial.message_len().saturating_sub(before));
        if last {
            pool.contexts.give_inflater(inflater);
        } else {
            partial.inflater = Some(inflater);
        }
        Ok(begins)
    }

    /// See [`super::Decoder::under_way`].
    pub(super) fn under_way(&self) -> Option<(u64, usize)> {
        let partial = self.partial.as_deref().filter(|partial| partial.opcode.is_some())?;
        let come = match self.state {
            _ if partial.inflater.is_none() => partial.message_len(),
            State::Payload(frame) if !frame.is_control() => {
                partial.deflated.saturating_sub(frame.to_come())
            }
            _ => partial.deflated,
        };
        Some((partial.begun, come))
    }

    /// When the message at hand began.
    pub(super) fn begun(&mut self) -> Option<&mut u64> {
        self.partial.as_deref_mut().map(|partial| &mut partial.begun)
    }

    /// Where the next bytes may be read to, past the receive buffer: into the message itself. Tell
    /// [`landed`](Decoder::landed) about them.
    pub(super) fn landing(&mut self) -> Option<&mut Vec<u8>> {
        match self.state {
            State::Payload(frame) => self.landing_of(frame),
            State::Head(_) | State::Done => None,
        }
    }

    /// The same within a frame. Only a large binary one has a landing.
    #[inline(never)]
    fn landing_of(&mut self, frame: Head) -> Option<&mut Vec<u8>> {
        if frame.to_come() < LAND_FROM {
            return None;
        }
        let lands =
            |partial: &&mut Partial| partial.opcode == Some(BINARY) && partial.inflater.is_none();
        let partial = self.partial.as_deref_mut().filter(lands)?;
        // If there is no memory, the bytes come by the receive buffer, and are refused by `keep`.
        partial.reserve_landing(LAND_FROM, frame.to_come(), frame.fin).ok()?;
        Some(&mut partial.binary)
    }

    /// This many bytes were read to the landing. Returns those behind the frame's end.
    #[inline(never)]
    pub(super) fn landed(&mut self, bytes: usize) -> Result<Vec<u8>, Violation> {
        let mut behind = Vec::new();
        let (State::Payload(frame), Some(partial)) = (&mut self.state, &mut self.partial) else {
            return Ok(behind);
        };
        let before = partial.binary.len().saturating_sub(bytes);
        let mut fresh = partial.binary.get_mut(before..).unwrap_or_default();
        frame.unmask(take(&mut fresh, frame.to_come()));
        memory::make_exact_room(&mut behind, fresh.len())?;
        behind.extend_from_slice(fresh);
        let ours = partial.binary.len().saturating_sub(behind.len());
        partial.binary.truncate(ours);
        Ok(behind)
    }

    // Inlined for the same reason as `Head::parse`.
    #[inline(always)]
    fn deliver<'i>(&mut self, opcode: u8, payload: &'i [u8]) -> Event<'i> {
        match opcode {
            TEXT => match utf8::check(payload) {
                Ok(text) => Event::Message(Message::Text(text)),
                Err(_) => self.fail(Violation::NotUtf8),
            },
            PING => Event::Ping(payload),
            PONG => Event::Pong(payload),
            CLOSE => match close::parse(self.version, payload) {
                Ok(close) => {
                    self.state = State::Done;
                    Event::Close(close)
                }
                Err(violation) => self.fail(violation),
            },
            _ => Event::Message(Message::Binary(payload)),
        }
    }

    fn deliver_message(&mut self) -> Event<'_> {
        self.lent = Some(Lent::Message);
        let partial = self.partial.get_or_insert_default();
        if partial.opcode != Some(TEXT) {
            return Event::Message(Message::Binary(&partial.binary));
        }
        match partial.text.finish() {
            Ok(text) => Event::Message(Message::Text(text)),
            Err(_) => {
                self.state = State::Done;
                Event::Failed(Violation::NotUtf8)
            }
        }
    }

    fn deliver_control(&mut self, opcode: u8) -> Event<'_> {
        self.lent = Some(Lent::Control);
        let partial = self.partial.get_or_insert_default();
        match opcode {
            PING => Event::Ping(&partial.control),
            PONG => Event::Pong(&partial.control),
            _ => {
                self.state = State::Done;
                match close::parse(self.version, &partial.control) {
                    Ok(close) => Event::Close(close),
                    Err(violation) => Event::Failed(violation),
                }
            }
        }
    }

    /// Takes back what the last event lent out. Nothing can lie between the last fragment of a
    /// message and its delivery, so with the message everything goes.
    pub(super) fn take_back(&mut self, pool: &mut Pool) {
        match self.lent.take() {
            None => {}
            Some(Lent::Message) => {
                let partial = self.partial.take().unwrap_or_default();
                pool.give(partial.binary);
                pool.give(partial.text.into_buffer());
            }
            Some(Lent::Control) => {
                if let Some(partial) = &mut self.partial {
                    partial.control = Vec::new();
                }
                self.partial.take_if(|partial| partial.opcode.is_none());
            }
        }
    }

    fn fail<'a>(&mut self, violation: Violation) -> Event<'a> {
        self.state = State::Done;
        self.partial = None;
        Event::Failed(violation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::frame::{FIN, MASKED};
    use crate::proto::partial::RESERVE_AT_ONCE;
    use crate::proto::tests::{LIMITS, Reader, Seen, at_every_split, decode, masked, text};
    use crate::proto::{Decoder as EitherDecoder, Framing};

    const HYBI: [Version; 3] = [Version::Hybi07, Version::Hybi08, Version::Rfc6455];
    const NO_KEY: [u8; 4] = [0; 4];

    fn binary(bytes: &[u8]) -> Seen {
        Seen::Binary(bytes.to_vec())
    }

    fn ping(payload: &[u8]) -> Seen {
        Seen::Ping(payload.to_vec())
    }

    fn failed(violation: Violation) -> Vec<Seen> {
        vec![Seen::Failed(violation)]
    }

    /// The state behind these reads, and what was seen.
    fn after(limits: &Limits, reads: &[&[u8]]) -> (Decoder, Vec<Seen>) {
        let mut reader = Reader::new(Version::Rfc6455, limits);
        let seen = reader.read_all(reads.iter().copied());
        (hybi(reader.decoder), seen)
    }

    fn hybi(decoder: EitherDecoder) -> Decoder {
        match decoder {
            EitherDecoder::Hybi(decoder) => decoder,
            EitherDecoder::Hixie(_) => panic!("the wrong decoder"),
        }
    }

    /// What bytes mean, at every split and in every version.
    fn meaning(bytes: &[u8]) -> Vec<Seen> {
        meaning_within(&LIMITS, bytes)
    }

    fn meaning_within(limits: &Limits, bytes: &[u8]) -> Vec<Seen> {
        let [a, b, c] = HYBI.map(|version| at_every_split(version, limits, bytes));
        assert!(a == b && b == c, "{bytes:x?}");
        c
    }

    #[test]
    fn heads_have_three_forms() {
        for (bytes, opcode, len) in [
            (&b"\x81\x80abcd"[..], TEXT, 0),
            (b"\x81\xfdabcd", TEXT, 125),
            (b"\x82\xfe\x00\x7eabcd", BINARY, 126),
            (b"\x80\xfe\xff\xffabcd", CONTINUATION, 0xffff),
            (b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd", BINARY, 0x1_0000),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd", BINARY, (1 << 63) - 1),
            (b"\x88\x82abcd", CLOSE, 2),
        ] {
            let (head, size) = Head::parse(bytes, Version::Rfc6455, None).unwrap().unwrap();
            assert_eq!((head.fin, head.opcode, head.len), (true, opcode, len), "{bytes:x?}");
            assert_eq!((size, &head.key), (bytes.len(), b"abcd"), "{bytes:x?}");
            for cut in 0..bytes.len() {
                let head = Head::parse(&bytes[..cut], Version::Rfc6455, None);
                assert!(matches!(head, Ok(None)), "{bytes:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn two_bytes_are_enough_to_refuse_a_frame() {
        for (bytes, violation) in [
            (b"\xc1\x80", Violation::ReservedBit),
            (b"\xa1\x80", Violation::ReservedBit),
            (b"\x91\x80", Violation::ReservedBit),
            (b"\x83\x80", Violation::ReservedOpcode),
            (b"\x87\x80", Violation::ReservedOpcode),
            (b"\x8b\x80", Violation::ReservedOpcode),
            (b"\x8f\x80", Violation::ReservedOpcode),
            (b"\x81\x00", Violation::Unmasked),
            (b"\x88\x02", Violation::Unmasked),
            (b"\x81\x7f", Violation::Unmasked),
            (b"\x08\x80", Violation::ControlFragmented),
            (b"\x09\x80", Violation::ControlFragmented),
            (b"\x0a\x80", Violation::ControlFragmented),
            (b"\x88\xfe", Violation::ControlTooLong),
            (b"\x89\xfe", Violation::ControlTooLong),
            (b"\x8a\xff", Violation::ControlTooLong),
        ] {
            assert_eq!(meaning(bytes), failed(violation), "{bytes:x?}");
        }
    }

    #[test]
    fn six_opcodes_are_known() {
        let is_known =
            |opcode| Head::parse(&[FIN | opcode, MASKED], Version::Rfc6455, None).is_ok();
        let known: Vec<u8> = (0..16).filter(|opcode| is_known(*opcode)).collect();
        assert_eq!(known, [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG]);
    }

    #[test]
    fn lengths_may_be_longer_than_needed_in_the_drafts_only() {
        for (bytes, expected) in [
            (&b"\x81\xfe\x00\x02\0\0\0\0hi"[..], text("hi")),
            (b"\x81\xfe\x00\x00\0\0\0\0", text("")),
            (b"\x82\xff\0\0\0\0\0\0\0\x02\0\0\0\0hi", binary(b"hi")),
            (&[&b"\x82\xfe\x00\x7d\0\0\0\0"[..], &[7; 125]].concat(), Seen::Binary(vec![7; 125])),
            (
                &[&b"\x82\xff\0\0\0\0\0\0\x00\x7e\0\0\0\0"[..], &[7; 126]].concat(),
                Seen::Binary(vec![7; 126]),
            ),
        ] {
            for version in [Version::Hybi07, Version::Hybi08] {
                assert_eq!(
                    at_every_split(version, &LIMITS, bytes),
                    std::slice::from_ref(&expected)
                );
            }
            let seen = at_every_split(Version::Rfc6455, &LIMITS, bytes);
            assert_eq!(seen, failed(Violation::LengthNotMinimal), "{bytes:.20x?}");
        }
        let limits = Limits { message: 1 << 20, ..LIMITS };
        for (len, least) in [(0xffff, false), (0x1_0000u64, true)] {
            let bytes = [&b"\x82\xff"[..], &len.to_be_bytes(), &[0; 4]].concat();
            let seen = decode(Version::Rfc6455, &limits, [&bytes[..]]);
            assert_eq!(seen.is_empty(), least, "{len:x}");
            assert!(decode(Version::Hybi08, &limits, [&bytes[..]]).is_empty());
        }
    }

    #[test]
    fn lengths_of_64_bits_are_refused_before_the_key_has_come() {
        let bytes = b"\x82\xff\x80\0\0\0\0\0\0\0";
        assert_eq!(meaning(bytes), failed(Violation::LengthTopBit));
    }

    #[test]
    fn messages_are_unmasked_where_they_lie() {
        let mut input = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        let mut decoder = Decoder::new(Version::Rfc6455, None);
        let event = decoder.next(&mut &mut input[..], &LIMITS, &mut Pool::default());
        assert_eq!(event, Some(Event::Message(Message::Text("Hello"))));
        assert!(decoder.partial.is_none());
        assert_eq!(&input[6..], b"Hello");
    }

    #[test]
    fn a_message_that_is_not_whole_is_told_of_once_with_what_has_come() {
        let (mut decoder, mut pool) = (Decoder::new(Version::Rfc6455, None), Pool::default());
        let mut next = |bytes: &[u8]| {
            let (mut bytes, mut begun) = (bytes.to_vec(), 0);
            let mut input = &mut bytes[..];
            while let Some(event) = decoder.next(&mut input, &LIMITS, &mut pool) {
                if let Event::Begun(time) = event {
                    (*time, begun) = (7, begun + 1);
                }
            }
            (begun, decoder.under_way())
        };
        assert_eq!(next(b"\x81\x81\0\0\0\0w\x01\x82\0\0"), (0, None));
        assert_eq!(next(b"\0\0a"), (1, Some((7, 1))));
        assert_eq!(next(b"b\x89\x81\0\0\0\0p"), (0, Some((7, 2))));
        assert_eq!(next(b"\0\x81\0\0\0\0c"), (0, Some((7, 3))));
        assert_eq!(next(b"\x80\x80\0\0\0\0\x82\x80\0\0\0\0"), (0, None));
        assert_eq!(next(b"\x02\x80\0\0\0\0"), (1, Some((7, 0))));
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn of_a_compressed_message_counts_what_has_come_and_not_what_it_was() {
        let mut reader = Reader::deflating(&LIMITS);
        // A stored block (RFC 1951 section 3.2.4) of three bytes, in two fragments.
        assert_eq!(reader.read(b"\x41\x86\0\0\0\0\0\x03\0"), []);
        assert_eq!(reader.decoder.under_way(), Some((0, 3)));
        assert_eq!(reader.read(b"\xfc\xffa\x89\x84\0\0\0\0pi"), []);
        assert_eq!(reader.decoder.under_way(), Some((0, 6)));
        assert_eq!(reader.read(b"ng\x00\x83\0\0\0\0bc\0"), [ping(b"ping")]);
        assert_eq!(reader.decoder.under_way(), Some((0, 9)));
        assert_eq!(reader.read(b"\x80\x80\0\0\0\0"), [text("abc")]);
    }

    #[test]
    fn control_frames_may_come_between_fragments() {
        let bytes = [
            &b"\x01\x83\0\0\0\0Hel"[..],
            b"\x89\x81abcd\x11",
            b"\x8a\x80\0\0\0\0",
            b"\x00\x80\0\0\0\0",
            b"\x89\x80\0\0\0\0",
            b"\x80\x82abcd\x0d\x0d",
            b"\x82\x81\0\0\0\0x",
        ];
        let expected = [ping(b"p"), Seen::Pong(Vec::new()), ping(b""), text("Hello"), binary(b"x")];
        assert_eq!(meaning(&bytes.concat()), expected);
    }

    #[test]
    fn a_ping_split_across_reads_leaves_the_message_around_it_alone() {
        let reads =
            [&b"\x01\x83\0\0\0\0Hel\x89\x84\0\0\0\0pi"[..], b"n", b"g\x80\x82\0\0", b"\0\0lo"];
        let (decoder, seen) = after(&LIMITS, &reads[..2]);
        assert_eq!(seen, []);
        let partial = decoder.partial.unwrap();
        assert_eq!((partial.text.finish(), &partial.control[..]), (Ok("Hel"), &b"pin"[..]));
        let (decoder, seen) = after(&LIMITS, &reads[..3]);
        assert_eq!(seen, [ping(b"ping")]);
        assert_eq!(decoder.partial.unwrap().control.capacity(), 0);
        let (decoder, seen) = after(&LIMITS, &reads);
        assert_eq!(seen, [ping(b"ping"), text("Hello")]);
        assert!(decoder.partial.is_none());
    }

    #[test]
    fn a_close_between_fragments_ends_the_message_too() {
        let bytes = b"\x01\x81\0\0\0\0a\x88\x80\0\0\0\0\x80\x81\0\0\0\0b";
        assert_eq!(meaning(bytes), [Seen::Close(None)]);
    }

    #[test]
    fn fragments_follow_a_beginning_and_nothing_else() {
        for (bytes, violation) in [
            (&b"\x80\x80\0\0\0\0"[..], Violation::ContinuationOfNothing),
            (b"\x00\x80\0\0\0\0", Violation::ContinuationOfNothing),
            (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", Violation::MessageInMessage),
            (b"\x02\x81\0\0\0\0a\x01\x80\0\0\0\0", Violation::MessageInMessage),
        ] {
            assert_eq!(meaning(bytes), failed(violation), "{bytes:x?}");
        }
        let bytes = b"\x01\x80\0\0\0\0\x80\x80\0\0\0\0\x80\x80\0\0\0\0";
        let expected = [text(""), Seen::Failed(Violation::ContinuationOfNothing)];
        assert_eq!(meaning(bytes), expected);
    }

    #[test]
    fn an_announced_length_over_the_limit_takes_no_memory() {
        let limits = Limits { message: 1024, ..LIMITS };
        for bytes in [
            &b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"[..],
            b"\x81\xfe\x04\x01\0\0\0\0",
            b"\x02\x81\0\0\0\0a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
            b"\x01\x81\0\0\0\0a\x80\xfe\x04\x00\0\0\0\0",
        ] {
            assert_eq!(meaning_within(&limits, bytes), failed(Violation::MessageTooBig));
            assert!(after(&limits, &[bytes]).0.partial.is_none(), "{bytes:x?}");
        }
    }

    #[test]
    fn an_announced_length_within_the_limit_takes_little_more_than_has_come() {
        let limits = Limits { message: usize::MAX, ..LIMITS };
        for first in [0x81, 0x82] {
            let head = [&[first][..], b"\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"].concat();
            assert!(after(&limits, &[&head]).0.partial.is_none());
            let (decoder, seen) = after(&limits, &[&head, b"a", b"b"]);
            assert_eq!(seen, []);
            let partial = decoder.partial.unwrap();
            assert_eq!(partial.message_len(), 2);
            let taken = partial.binary.capacity() + partial.text.into_buffer().capacity();
            assert!(taken <= 2 * (RESERVE_AT_ONCE + 2), "{taken}");
        }
    }

    #[test]
    fn the_limit_itself_is_within_it() {
        let limits = Limits { message: 4, ..LIMITS };
        let whole = [masked(0x82, NO_KEY, b"1234"), masked(0x81, NO_KEY, b"5678")].concat();
        assert_eq!(meaning_within(&limits, &whole), [binary(b"1234"), text("5678")]);
        let halves = [masked(0x02, NO_KEY, b"12"), masked(0x80, NO_KEY, b"34")].concat();
        assert_eq!(meaning_within(&limits, &halves), [binary(b"1234")]);
        let none = Limits { message: 0, ..LIMITS };
        assert_eq!(meaning_within(&none, &masked(0x82, NO_KEY, b"")), [binary(b"")]);
        assert_eq!(meaning_within(&none, &masked(0x89, NO_KEY, b"12")), [ping(b"12")]);
    }

    /// `count` fragments of one byte, a ping behind each but the last.
    fn in_fragments(count: usize) -> Vec<u8> {
        let fragment = |index| {
            let first = if index == 0 { BINARY } else { CONTINUATION };
            if index + 1 == count {
                return masked(FIN | first, NO_KEY, b"x");
            }
            [masked(first, NO_KEY, b"x"), masked(FIN | PING, NO_KEY, b"")].concat()
        };
        (0..count).flat_map(fragment).collect()
    }

    #[test]
    fn all_fragments_of_a_message_are_counted_and_nothing_else() {
        let limits = Limits { fragments: 3, ..LIMITS };
        let mut expected = vec![ping(b""), ping(b""), binary(b"xxx")];
        expected.extend_from_within(..);
        assert_eq!(meaning_within(&limits, &in_fragments(3).repeat(2)), expected);
        let seen = meaning_within(&limits, &in_fragments(4));
        let refused = Seen::Failed(Violation::TooManyFragments);
        assert_eq!(seen, [ping(b""), ping(b""), ping(b""), refused]);
        let none = Limits { fragments: 0, ..LIMITS };
        assert_eq!(meaning_within(&none, &in_fragments(1)), [binary(b"x")]);
    }

    #[test]
    fn text_fails_at_its_first_wrong_byte_in_an_unfinished_frame() {
        for (start, good, bad) in [
            (&b"\x81\xfe\x03\xe8\0\0\0\0"[..], &b"abc"[..], 0xff),
            (b"\x81\xfe\x03\xe8\0\0\0\0", b"abc\xe2\x82", b'a'),
            (b"\x01\x8a\0\0\0\0", b"\xed", 0xa0),
            (b"\x01\x81\0\0\0\0\xf4\x00\x8a\0\0\0\0", b"", 0x90),
            (b"\x01\x81\0\0\0\0\xf0\x89\x81\0\0\0\0p\x80\x8a\0\0\0\0", b"\x9f", 0xc0),
        ] {
            let before = [start, good].concat();
            assert!(!meaning(&before).contains(&Seen::Failed(Violation::NotUtf8)));
            let (decoder, seen) = after(&LIMITS, &[&before, &[bad]]);
            assert_eq!(seen.last(), Some(&Seen::Failed(Violation::NotUtf8)), "{before:x?}");
            assert!(decoder.partial.is_none());
            meaning(&[&before[..], &[bad]].concat());
        }
    }

    #[test]
    fn text_ends_with_a_whole_character() {
        for bytes in [
            &b"\x81\x82\0\0\0\0\xe2\x82"[..],
            b"\x01\x81\0\0\0\0\xe2\x80\x81\0\0\0\0\x82",
            b"\x01\x82\0\0\0\0\xe2\x82\x80\x80\0\0\0\0",
        ] {
            assert_eq!(meaning(bytes), failed(Violation::NotUtf8), "{bytes:x?}");
        }
        let across = b"\x01\x81\0\0\0\0\xe2\x00\x80\0\0\0\0\x80\x82\0\0\0\0\x82\xac";
        assert_eq!(meaning(across), [text("\u{20ac}")]);
    }

    #[test]
    fn binary_messages_and_pings_are_any_bytes() {
        let bytes =
            b"\x82\x82\0\0\0\0\xff\xc0\x89\x82\0\0\0\0\xff\xc0\x02\x81\0\0\0\0\xed\x80\x80\0\0\0\0";
        assert_eq!(meaning(bytes), [binary(b"\xff\xc0"), ping(b"\xff\xc0"), binary(b"\xed")]);
    }

    #[test]
    fn control_frames_hold_125_bytes() {
        let payload = [b'p'; 125];
        assert_eq!(meaning(&masked(0x89, [1, 2, 3, 4], &payload)), [ping(&payload)]);
        let close = [&b"\x03\xe8"[..], &[b'r'; 123]].concat();
        let reason = "r".repeat(123);
        let expected = [Seen::Close(Some((1000, reason)))];
        assert_eq!(meaning(&masked(0x88, [1, 2, 3, 4], &close)), expected);
    }

    #[test]
    fn close_frames_are_read_at_every_split() {
        for (bytes, expected) in [
            (&b"\x88\x80abcd"[..], Seen::Close(None)),
            (b"\x88\x82\0\0\0\0\x03\xe8", Seen::Close(Some((1000, String::new())))),
            (b"\x88\x85\0\0\0\0\x0f\xa0bye", Seen::Close(Some((4000, "bye".to_string())))),
            (b"\x88\x85\0\0\0\0\x03\xe9\xe2\x82\xac", Seen::Close(Some((1001, "\u{20ac}".into())))),
            (b"\x88\x81\0\0\0\0\x03", Seen::Failed(Violation::CloseTooShort)),
            (b"\x88\x82\0\0\0\0\x03\xed", Seen::Failed(Violation::CloseCode)),
            (b"\x88\x82\0\0\0\0\0\0", Seen::Failed(Violation::CloseCode)),
            (b"\x88\x84\0\0\0\0\x03\xe8\xe2\x82", Seen::Failed(Violation::CloseReason)),
        ] {
            assert_eq!(meaning(bytes), [expected], "{bytes:x?}");
        }
    }

    #[test]
    fn close_code_1004_meant_too_large_in_the_drafts() {
        let bytes = b"\x88\x82\0\0\0\0\x03\xec";
        for version in [Version::Hybi07, Version::Hybi08] {
            let expected = [Seen::Close(Some((1004, String::new())))];
            assert_eq!(at_every_split(version, &LIMITS, bytes), expected);
        }
        let seen = at_every_split(Version::Rfc6455, &LIMITS, bytes);
        assert_eq!(seen, failed(Violation::CloseCode));
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        for end in [&b"\x88\x80\0\0\0\0"[..], b"\x83\x80", b"\x81\x81\0\0\0\0\xff"] {
            let mut bytes = end.to_vec();
            let expected = meaning(&bytes);
            assert_eq!(expected.len(), 1);
            bytes.extend_from_slice(b"\x81\x81\0\0\0\0a\x83\x80");
            assert_eq!(meaning(&bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn a_message_in_pieces_is_lent_then_goes_to_the_pool() {
        for (first, expected) in [(0x01, Message::Text("ab")), (0x02, Message::Binary(b"ab"))] {
            let mut reader = Reader::new(Version::Rfc6455, &LIMITS);
            reader.read(&masked(first, NO_KEY, b"a"));
            let (mut decoder, mut pool) = (hybi(reader.decoder), reader.pool);
            let mut bytes = *b"\x80\x81\0\0\0\0b";
            let mut input = &mut bytes[..];
            let event = decoder.next(&mut input, &LIMITS, &mut pool);
            assert_eq!(event, Some(Event::Message(expected)));
            assert!(decoder.partial.is_some() && pool.take(2).capacity() == 0);
            assert_eq!(decoder.next(&mut input, &LIMITS, &mut pool), None);
            assert!(decoder.partial.is_none() && decoder.lent.is_none());
            let buffer = pool.take(2);
            assert!(buffer.is_empty() && buffer.capacity() > 0);
        }
    }

    #[test]
    fn a_message_of_a_megabyte_takes_no_more_than_its_length() {
        let mut frame = masked(0x82, NO_KEY, &vec![b'x'; 1 << 20]);
        for bytes_left_over in [0, 112, 100_000] {
            let mut reader = Reader::new(Version::Rfc6455, &LIMITS).landing();
            let (first, rest) = frame.split_at(RESERVE_AT_ONCE);
            let (rest, last) = rest.split_at(rest.len() - bytes_left_over);
            assert!(reader.read_all([first, rest, last]).len() == 1);
            assert_eq!(reader.pool.take(1 << 20).capacity(), 1 << 20);
        }
        // In fragments it grows faster than they come.
        frame = in_fragments(1000);
        let (decoder, _) = after(&LIMITS, &[&frame[..frame.len() - 7]]);
        assert!(decoder.partial.is_some_and(|partial| partial.binary.capacity() > 1000));
    }

    #[test]
    #[cfg(feature = "deflate")]
    fn a_compressed_message_that_lies_whole_in_the_input_is_inflated() {
        let bytes = masked(0xc1, [1, 2, 3, 4], b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        let mut reader = Reader::deflating(&LIMITS);
        assert_eq!(reader.read(&bytes), [text("Hello")]);
    }

    #[test]
    fn only_large_binary_frames_are_read_past_the_receive_buffer() {
        let rest = vec![b'x'; LAND_FROM];
        let (more, less) = (vec![b'x'; LAND_FROM + 1], vec![b'x'; LAND_FROM]);
        for (first, payload, lands) in
            [(0x82, &more, true), (0x02, &more, true), (0x82, &less, false), (0x81, &more, false)]
        {
            let frame = masked(first, NO_KEY, payload);
            let head = frame.len() - payload.len();
            let mut reader = Reader::new(Version::Rfc6455, &LIMITS);
            reader.read(&frame[..head]);
            assert!(reader.decoder.landing().is_none());
            reader.read(&frame[head..=head]);
            assert_eq!(reader.decoder.landing().is_some(), lands, "{first:x}");
            reader.read(&rest);
            assert!(reader.decoder.landing().is_none());
        }
    }

    #[test]
    fn what_is_read_past_the_receive_buffer_ends_with_the_frame() {
        let payload: Vec<u8> = (0..LAND_FROM + 9).map(|i| i as u8).collect();
        let behind = masked(0x89, [5, 6, 7, 8], b"ping");
        for (first, end) in [(0x82, &b""[..]), (0x02, b"\x80\x80\0\0\0\0")] {
            let bytes = [&masked(first, [1, 2, 3, 4], &payload), end, &behind].concat();
            for cut in 8..20 {
                for extra in [0, 1, end.len() + behind.len() - 1] {
                    let mut reader = Reader::new(Version::Rfc6455, &LIMITS).landing();
                    // Room for more than the frame.
                    reader.pool.give(Vec::with_capacity(10 * LAND_FROM));
                    let (start, rest) = bytes.split_at(cut);
                    let (rest, last) = rest.split_at(rest.len() - extra);
                    let seen = reader.read_all([start, rest, last]);
                    assert!(seen == [binary(&payload), ping(b"ping")], "{cut}, {extra}");
                    assert!(hybi(reader.decoder).partial.is_none());
                }
            }
        }
    }

    #[test]
    fn an_idle_decoder_keeps_nothing() {
        for bytes in [
            masked(0x81, [1, 2, 3, 4], b"text"),
            masked(0x82, [1, 2, 3, 4], b""),
            masked(0x89, [1, 2, 3, 4], b"ping"),
            masked(0x8a, [1, 2, 3, 4], b""),
            masked(0x8a, [1, 2, 3, 4], b"pong"),
            in_fragments(3),
        ] {
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                let (decoder, seen) = after(&LIMITS, &[first, second]);
                assert!(!seen.is_empty());
                assert!(decoder.partial.is_none(), "{bytes:x?} cut at {cut}");
                assert!(matches!(decoder.state, State::Head(begun) if begun.is_empty()));
            }
        }
    }

    #[test]
    fn frames_of_a_server_are_not_taken_from_a_client() {
        let mut out = Vec::new();
        Framing::Hybi.encode(Message::Text("Hello"), &mut Pool::default(), &mut out).unwrap();
        assert_eq!(decode(Version::Rfc6455, &LIMITS, [&out[..]]), failed(Violation::Unmasked));
    }

    #[test]
    fn a_large_message_lands_in_place_with_what_comes_behind_it() {
        let payload: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
        let frame = masked(0x82, [1, 2, 3, 4], &payload);
        let bytes = [&frame[..], &masked(0x81, [5, 6, 7, 8], b"next")].concat();
        for first in [14, 15, 5_000, 80_000] {
            let (mut decoder, mut pool) = (Decoder::new(Version::Rfc6455, None), Pool::default());
            assert!(decoder.landing().is_none());
            let mut input = bytes[..first].to_vec();
            let event = decoder.next(&mut &mut input[..], &LIMITS, &mut pool);
            assert!(matches!(event, None | Some(Event::Begun(_))), "{event:?}");
            let mut rest = &bytes[first..];
            let mut behind = Vec::new();
            while let Some(message) = decoder.landing() {
                let (piece, later) = rest.split_at(rest.len().min(30_000));
                message.extend_from_slice(piece);
                rest = later;
                behind = decoder.landed(piece.len()).unwrap();
            }
            behind.extend_from_slice(rest);
            let mut behind = &mut behind[..];
            let event = decoder.next(&mut behind, &LIMITS, &mut pool);
            assert_eq!(event, Some(Event::Message(Message::Binary(&payload))), "cut at {first}");
            let event = decoder.next(&mut behind, &LIMITS, &mut pool);
            assert_eq!(event, Some(Event::Message(Message::Text("next"))), "cut at {first}");
        }
    }
}
