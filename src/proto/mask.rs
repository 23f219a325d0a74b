//! Masking (RFC 6455 section 5.3).

/// XORs `bytes` with the key, and turns the key so that it fits the bytes that follow.
pub(super) fn unmask(bytes: &mut [u8], key: &mut [u8; 4]) {
    // The same bytes in memory order on either endianness.
    let word = u32::from_ne_bytes(*key);
    let wide = u64::from(word).wrapping_mul(0x1_0000_0001);
    let (blocks, rest) = bytes.as_chunks_mut::<32>();
    for block in blocks {
        xor(block, wide);
    }
    let (words, rest) = rest.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(*key) {
        *byte ^= key;
    }
    // By whole bytes, to the left as they lie in memory.
    let turn = (rest.len() as u32).wrapping_mul(8);
    *key = u32::from_le_bytes(*key).rotate_right(turn).to_le_bytes();
}

/// A block of a fixed size, which the compiler turns into vector instructions.
fn xor(block: &mut [u8; 32], wide: u64) {
    let (words, _) = block.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ wide).to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_section_5_7() {
        let mut bytes = *b"\x7f\x9f\x4d\x51\x58";
        unmask(&mut bytes, &mut [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&bytes, b"Hello");
    }

    #[test]
    fn any_length_in_any_two_pieces_equals_one_byte_at_a_time() {
        let key = [1, 20, 40, 255];
        for len in 0..150 {
            let plain: Vec<u8> = (0..len as u8).collect();
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, o)| o ^ key[i % 4]).collect();
            for cut in 0..=len {
                let (mut bytes, mut turning) = (plain.clone(), key);
                unmask(&mut bytes[..cut], &mut turning);
                unmask(&mut bytes[cut..], &mut turning);
                assert_eq!(bytes, expected, "{len} bytes cut at {cut}");
            }
        }
    }
}
