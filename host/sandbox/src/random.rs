//! Random numbers that are the same on replay.

/// `SplitMix64` (Steele, Lea and Flood, 2014): one addition and one mix for each number, every
/// seed is good, and a stream can be told from another by its seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

impl Stream {
    /// The stream of `context.random`.
    pub(crate) fn of_context(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of `wasi:random`: one of its own, so that what a standard library draws (the
    /// keys of its hash maps, for one) moves nothing in `context.random`.
    pub(crate) fn of_wasi(seed: u64) -> Self {
        Self(Self(seed ^ 0x7761_7369_3a72_6e64).number())
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills `bytes` with the next numbers, little-endian.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_that_of_the_published_generator() {
        let mut stream = Stream::of_context(1_234_567);
        let numbers = [stream.number(), stream.number(), stream.number()];
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, published);
    }
}
