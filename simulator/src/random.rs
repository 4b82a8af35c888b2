use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use schema::{mix, spread};

/// A probability in units of 2^-32, compared with a draw of 32 bits.
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

/// Reproducible random numbers: `ChaCha8` and integer arithmetic. The samplers of `rand` are not used because their draws
/// may change between versions.
#[derive(Clone, Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random::of_stream(seed, 0)
    }

    /// One of many independent streams of random numbers of a seed. Stream 0 is that of the events.
    pub(crate) fn of_stream(seed: u64, stream: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&stream.to_le_bytes());
        Random(ChaCha8Rng::from_seed(bytes))
    }

    /// 32 uniform bits: a uniform fraction in units of 2^-32.
    pub(crate) fn fraction(&mut self) -> u32 {
        self.0.next_u32()
    }

    pub(crate) fn happens(&mut self, chance: Chance) -> bool {
        u64::from(self.0.next_u32()) < chance.0
    }

    /// Uniform below `n`, with a bias of at most n / 2^64.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Uniform below a 32-bit `n`.
    pub(crate) fn index(&mut self, n: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// A uniformly drawn element of a slice that is not empty.
    pub(crate) fn one_of<'a, T>(&mut self, elements: &'a [T]) -> &'a T {
        &elements[self.index(u32::try_from(elements.len()).expect("a length of 32 bits")) as usize]
    }

    /// Uniform from `from` to `to`, both included.
    pub(crate) fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to - from + 1)
    }

    /// A Zipf-distributed rank below `n` with exponent 1/2, whose inverse distribution function is a square.
    #[expect(clippy::cast_possible_truncation, reason = "below an n of 32 bits")]
    pub(crate) fn zipf(&mut self, n: u32) -> u32 {
        let x = u64::from(self.0.next_u32());
        ((u128::from(x * x) * u128::from(n)) >> 64) as u32
    }
}

/// 32-bit hash of seed, number and salt (`SplitMix64`), for properties of users and items that are computed instead of
/// stored. The salt is below 256; 0 and 1 are the tastes of users.
pub(crate) fn hash32(seed: u64, number: u32, salt: u64) -> u32 {
    (mix(seed ^ spread(u64::from(number) << 8 | salt)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_ranks_have_exponent_one_half() {
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
    fn draws_stay_within_inclusive_bounds() {
        let mut random = Random::new(1);
        assert!((0..1_000).all(|_| random.happens(Chance::of(1.0)) && !random.happens(Chance::of(0.0))));
        assert!((0..1_000).all(|_| (5..=7).contains(&random.between((5, 7)))));
        assert_eq!(random.index(1), 0);
        assert_eq!(random.below(1), 0);
    }

    /// The first words of the `ChaCha8` key stream of key 1, from the definition of the cipher. Detects a change of the
    /// library, the machine or the byte order.
    #[test]
    fn the_key_stream_of_a_seed_is_pinned() {
        let mut random = Random::new(1);
        let draws = [random.fraction(), random.fraction(), random.fraction()];
        assert_eq!(draws, DRAWS, "{draws:#x?}");
    }

    #[test]
    fn streams_of_a_seed_differ() {
        let draws = |stream| {
            let mut random = Random::of_stream(1, stream);
            [random.fraction(), random.fraction()]
        };
        assert!(draws(0) == DRAWS[..2] && draws(1) != draws(0) && draws(1) != draws(2));
    }

    const DRAWS: [u32; 3] = [0xa0e9_5ecf, 0x61a9_4a49, 0xedd5_053e];
}
