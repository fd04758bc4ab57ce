//! Bits of words.

use std::os::fd::RawFd;

/// The places of the bits that are set, from the lowest on.
pub(crate) fn bits_of(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// Is a number's bit set in the word it belongs to?
#[inline]
pub(crate) fn is_set(word: u64, fd: RawFd) -> bool {
    word >> (fd as u32 % 64) & 1 == 1
}

pub(crate) fn zero(words: &mut [u64]) {
    words.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_once() {
        for word in [0, 1, 1 << 63, u64::MAX, 0x8000_0000_0000_0001, 0xdead_beef] {
            let places: Vec<_> = bits_of(word).collect();
            assert!(places.is_sorted());
            assert_eq!(places.iter().fold(0, |w, b| w | 1_u64 << b), word);
            assert!((0..64).all(|b| is_set(word, b) == places.contains(&(b as usize))));
        }
    }
}
