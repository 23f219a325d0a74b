//! Bytes, handled so that nothing can panic: taken from an input, and kept in place.

/// Takes this many bytes from the front of `input`, or all there are.
pub(crate) fn take<'i>(input: &mut &'i mut [u8], bytes: usize) -> &'i mut [u8] {
    input.split_off_mut(..bytes.min(input.len())).unwrap_or_default()
}

/// Appends these parts without their first `taken` bytes.
pub(crate) fn put_rest(parts: &[&[u8]], mut taken: usize, out: &mut Vec<u8>) {
    for part in parts {
        out.extend_from_slice(part.get(taken..).unwrap_or_default());
        taken = taken.saturating_sub(part.len());
    }
}

/// Up to `N` bytes, kept in place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Short<N> {
    /// These bytes; more than `N` do not compile.
    pub(super) fn of<const M: usize>(bytes: [u8; M]) -> Short<N> {
        const { assert!(M <= N) };
        let mut short = Short::default();
        if let Some(front) = short.bytes.first_chunk_mut() {
            *front = bytes;
        }
        short.len = M as u8;
        short
    }

    /// Appends a byte, if there is room for it.
    pub(super) fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(usize::from(self.len))? = byte;
        self.len = self.len.saturating_add(1);
        Some(())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        const { assert!(N <= 255) };
        Short { bytes: [0; N], len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let mut bytes = *b"abc";
        let mut input = &mut bytes[..];
        assert_eq!(take(&mut input, 2), b"ab");
        assert_eq!(input, b"c");
        assert_eq!(take(&mut input, usize::MAX), b"c");
        assert_eq!(take(&mut input, 1), b"");
    }

    #[test]
    fn the_rest_of_several_parts_begins_in_any_of_them() {
        for taken in 0..8 {
            let mut out = b"before".to_vec();
            put_rest(&[b"ab", b"", b"cde", b"f"], taken, &mut out);
            assert_eq!(out, [b"before", b"abcdef".get(taken..).unwrap_or_default()].concat());
        }
    }

    #[test]
    fn no_more_is_kept_than_fits() {
        let mut short = Short::<2>::default();
        assert!(short.is_empty());
        assert_eq!([1, 2, 3].map(|byte| short.push(byte)), [Some(()), Some(()), None]);
        assert_eq!((short.as_slice(), short.len()), (&[1, 2][..], 2));
        short.clear();
        assert!(short.as_slice().is_empty());
    }
}
