//! Comparing the caller's memory with what it held at the last call: all that is left of the cost
//! that grows with the number of descriptors.

/// The first place at or after `from` where the two differ; `len` if they do not.
///
/// # Safety
/// Both hold `len` words, readable, of any alignment.
#[inline]
pub(crate) unsafe fn first_difference(
    a: *const u64,
    b: *const u64,
    from: usize,
    len: usize,
) -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2; the caller's promise.
        return unsafe { first_difference_avx2(a, b, from, len) };
    }
    // SAFETY: the caller's promise.
    unsafe { scan(a, b, from, len) }
}

/// The same loop, for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn first_difference_avx2(a: *const u64, b: *const u64, from: usize, len: usize) -> usize {
    // SAFETY: the caller's promise.
    unsafe { scan(a, b, from, len) }
}

/// Blocks of 16 words, whose differences are gathered before one branch, so that the compiler makes
/// vector code of it; then word by word.
#[inline(always)]
unsafe fn scan(a: *const u64, b: *const u64, from: usize, len: usize) -> usize {
    const BLOCK: usize = 16;
    let mut at = from;
    // SAFETY (of all reads): `at < len`, and the caller's promise.
    while at + BLOCK <= len {
        let mut differences = 0;
        for i in 0..BLOCK {
            // SAFETY: see above.
            differences |=
                unsafe { a.add(at + i).read_unaligned() ^ b.add(at + i).read_unaligned() };
        }
        if differences != 0 {
            break;
        }
        at += BLOCK;
    }
    while at < len {
        // SAFETY: see above.
        if unsafe { a.add(at).read_unaligned() != b.add(at).read_unaligned() } {
            return at;
        }
        at += 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_difference_at_each_place() {
        for len in [0, 1, 2, 15, 16, 17, 31, 32, 33, 100] {
            let a: Vec<u64> = (0..len as u64).collect();
            let mut b = a.clone();
            // SAFETY: both have `len` words.
            let find =
                |b: &[u64], from| unsafe { first_difference(a.as_ptr(), b.as_ptr(), from, len) };
            assert_eq!(find(&b, 0), len);
            for at in 0..len {
                for bit in [0, 31, 63] {
                    b[at] ^= 1 << bit;
                    assert_eq!(find(&b, 0), at);
                    assert_eq!(find(&b, at), at);
                    assert_eq!(find(&b, at + 1), len);
                    b[at] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn takes_memory_of_any_alignment() {
        let a: Vec<u8> = (0..200).collect();
        for shift in 0..8 {
            let (p, q) = (a[shift..].as_ptr().cast(), a[shift..].to_vec());
            // SAFETY: 20 words are 160 bytes, of at least 192.
            let found = unsafe { first_difference(p, q.as_ptr().cast(), 0, 20) };
            assert_eq!(found, 20);
        }
    }
}
