//! Random numbers that are the same for a seed on every machine and in every version of this program.

/// SplitMix64 (Steele, Lea, Flood 2014). The algorithm never changes: seeds in the list of regressions depend on it.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `low..high`; `low` when the range is empty. (Bias of the modulo: below 2^-32 for ranges of 32 bits.)
    pub const fn range(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low) {
            0 => low,
            width => low + self.next() % width,
        }
    }

    /// True in `percent` of a hundred cases.
    pub const fn chance(&mut self, percent: u64) -> bool {
        self.range(0, 100) < percent
    }

    /// One of the choices, which must not be none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.range(0, choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs of the reference implementation for seed 1234567.
    #[test]
    fn the_algorithm_is_what_it_always_was() {
        let mut rng = Rng::new(1_234_567);
        let seen: Vec<u64> = (0..3).map(|_| rng.next()).collect();
        assert_eq!(
            seen,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
