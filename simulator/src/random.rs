use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A probability as the share of 2^32 that a draw of 32 bits is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// `probability` lies in 0..=1. Scaling by a power of two is exact, so this is the same on every machine.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=1 times 2^32 fits")]
    pub(crate) const fn of(probability: f64) -> Self {
        Chance((probability * 4_294_967_296.0) as u64)
    }

    /// A probability in units of 2^-32.
    pub(crate) const fn from_parts(parts: u64) -> Self {
        Chance(parts)
    }

    /// The probability in units of 2^-32.
    pub(crate) const fn parts(self) -> u64 {
        self.0
    }
}

/// Reproducible randomness: `ChaCha8`, and on top of it integers only. The samplers are our own because those of `rand`
/// may change what they draw from one version to the next.
#[derive(Clone, Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Random(ChaCha8Rng::from_seed(bytes))
    }

    /// 32 uniform bits: a uniform fraction in units of 2^-32.
    pub(crate) fn fraction(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn happens(&mut self, chance: Chance) -> bool {
        u64::from(self.0.next_u32()) < chance.0
    }

    /// Uniform below `n`. The bias of at most n / 2^64 is beneath notice.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform below `n`, for what is counted in 32 bits.
    pub(crate) fn index(&mut self, n: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// One of a few.
    pub(crate) fn one_of<'a, T>(&mut self, few: &'a [T]) -> &'a T {
        &few[self.index(u32::try_from(few.len()).expect("few")) as usize]
    }

    /// Uniform from `from` to `to`, both included.
    pub(crate) fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to - from + 1)
    }

    /// A rank below `n`, drawn with a probability falling as rank^-1/2: the inverse of that law is a square.
    #[expect(clippy::cast_possible_truncation, reason = "below an n of 32 bits")]
    pub(crate) fn zipf(&mut self, n: u32) -> u32 {
        let x = u64::from(self.0.next_u32());
        ((u128::from(x * x) * u128::from(n)) >> 64) as u32
    }
}

/// Thirty-two well-mixed bits of a pair, for what a user must have without anything being stored (`SplitMix64`).
pub(crate) fn mixed(seed: u64, user: u32, salt: u64) -> u32 {
    let mut x = seed ^ (u64::from(user) << 8 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_as_their_inverse_root() {
        let mut random = Random::new(3);
        let mut counts = [0_u32; 100];
        for _ in 0..1_000_000 {
            counts[random.zipf(100) as usize] += 1;
        }
        // The share of the first x of 100 ranks is the root of x / 100.
        for (first, share) in [(1_usize, 0.1), (25, 0.5), (81, 0.9)] {
            let sum: u32 = counts[..first].iter().sum();
            assert!((f64::from(sum) / 1e6 - share).abs() < 0.003, "{first} ranks: {sum}");
        }
    }

    #[test]
    fn chances_and_ranges_keep_their_borders() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| random.happens(Chance::of(1.0)) && !random.happens(Chance::of(0.0))));
        assert!((0..1_000).all(|_| (5..=7).contains(&random.between((5, 7)))));
        assert_eq!(random.index(1), 0);
        assert_eq!(random.below(1), 0);
    }

    /// The first words of the `ChaCha8` key stream of key 1, as the definition of the cipher gives them: a change of
    /// library, machine or byte order would show here.
    #[test]
    fn the_stream_of_a_seed_stands() {
        let mut random = Random::new(1);
        let draws = [random.fraction(), random.fraction(), random.fraction()];
        assert_eq!(draws, DRAWS, "{draws:#x?}");
    }

    const DRAWS: [u32; 3] = [0xa0e9_5ecf, 0x61a9_4a49, 0xedd5_053e];
}
