//! Mutations of inputs for the smoke run, the same in every run. libFuzzer has its own.

/// A source of mutations (xorshift64*).
pub struct Mutator(u64);

impl Mutator {
    /// The mutations of one seed; any number but 0 is a good one.
    pub const fn new(seed: u64) -> Self {
        Self(if seed == 0 { 1 } else { seed })
    }

    /// A number below `bound`, which must not be 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }

    /// One to four changes in an input; `other` is where pieces come from.
    pub fn mutate(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, other);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let end = bytes.len().min(at + 1 + self.below(32));
        let from = self.below(other.len() + 1);
        let to = other.len().min(from + self.below(64));
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, other[from..to].iter().copied())),
            3 => drop(bytes.splice(at..end, other[from..to].iter().copied())),
            4 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            _ if at == bytes.len() => bytes.push(self.below(256) as u8),
            5 => bytes[at] ^= 1 << self.below(8),
            _ => {
                // Numbers at which things end, and characters that end things.
                const EDGES: &[u8] = b"\0\x01\x7f\x80\xff\n\r\t \"'#=:,[]{}-09\\";
                bytes[at] = EDGES[self.below(EDGES.len())];
            }
        }
    }
}
