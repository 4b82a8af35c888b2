use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Reproducible random numbers: the same seed and purpose give the same on every machine.
pub(super) struct Random(ChaCha8Rng);

/// Independent streams of random numbers.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Baseline = 1,
    Resamples = 2,
    Sample = 3,
}

impl Random {
    pub(super) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8] = purpose as u8;
        Random(ChaCha8Rng::from_seed(bytes))
    }

    /// Uniform below `n`, with a bias of at most n / 2^64.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}
