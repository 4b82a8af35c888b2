//! Quantised logarithms, their powers, and the cosine of them, in integer arithmetic.
//!
//! `q(x) = floor(s * log2(x))`. With the phase of a pair, `q_ab(x) = floor((floor(64 * s * log2(x)) + phase) / 64)`: when
//! a count crosses a threshold, it does so for a sixty-fourth of its pairs at a time. `fine` is the inner floor.

/// Number of phases, and of fine steps in one step of `q`.
pub(crate) const PHASES: u32 = 64;
const PHASE_BITS: u32 = PHASES.trailing_zeros();

/// Bound of the arguments in the direct table. Larger ones take a binary search.
const DIRECT: u64 = 1 << 16;

/// Bits of the largest argument, 2^40 - 1: twice a popularity of 15 from each of 36 billion users.
const MAX_BITS: u32 = 40;

/// `floor(64 * s * log2(x))` for 1 <= x < 2^40, exactly, from a table of integer thresholds.
#[derive(Debug)]
pub struct Logarithm {
    direct: Vec<u32>,
    /// `thresholds[n]` is the least x whose fine value is at least n.
    thresholds: Vec<u64>,
}

impl Logarithm {
    /// The table for resolution `s`, 1 to 16. Takes about 10 ms.
    pub fn new(resolution: u32) -> Self {
        let steps = PHASES * resolution;
        let thresholds: Vec<u64> = (0..steps * MAX_BITS).map(|n| threshold(n, steps)).collect();
        let mut direct = vec![0; usize::try_from(DIRECT).expect("2^16 fits")];
        let mut fine = 0;
        for (x, slot) in direct.iter_mut().enumerate().skip(1) {
            while thresholds.get(fine + 1).is_some_and(|least| *least <= x as u64) {
                fine += 1;
            }
            *slot = u32::try_from(fine).expect("fewer thresholds than 2^32");
        }
        Logarithm { direct, thresholds }
    }

    /// `floor(64 * s * log2(x))`; arguments are clamped to 1 .. 2^40 - 1.
    #[inline]
    pub fn fine(&self, x: u64) -> u32 {
        if x < DIRECT {
            return self.direct[x.max(1) as usize];
        }
        let above = self.thresholds.partition_point(|least| *least <= x);
        u32::try_from(above - 1).expect("fewer thresholds than 2^32")
    }

    /// `q(x) = floor(s * log2(x))`.
    #[inline]
    pub fn q(&self, x: u64) -> u32 {
        self.fine(x) >> PHASE_BITS
    }
}

/// The phase of a pair: `(id64(a) xor id64(b)) mod 64`. Takes any ids with the low six bits of the id64.
#[inline]
pub(crate) fn phase(a: u64, b: u64) -> u32 {
    ((a ^ b) & u64::from(PHASES - 1)) as u32
}

/// `q_ab` from the fine value and the pair's phase.
#[inline]
pub(crate) fn phased(fine: u32, phase: u32) -> u32 {
    (fine + phase) >> PHASE_BITS
}

/// `v = max(1, min(1024, floor(0.5 + 1024 * 2^(e / (2 s)))))` for an integer exponent `e`, from a table.
#[derive(Debug)]
pub struct Similarity {
    /// Values for e = 0, -1, -2, ... down to 1.
    falling: Vec<u16>,
}

impl Similarity {
    /// The table for resolution `s`, 1 to 16.
    pub fn new(resolution: u32) -> Self {
        // v <= 0.5 + 1024 * 2^(e/2s)  <=>  ((2v - 1) / 2048)^2s <= 2^e  <=>  2s * log2(2v - 1) <= e + 22s.
        let root = 2 * resolution;
        let mut falling = Vec::new();
        let mut v: u16 = 1024;
        for drop in 0..=11 * root {
            while v > 1 && !at_most_power(2 * u64::from(v) - 1, root, 11 * root - drop) {
                v -= 1;
            }
            falling.push(v);
        }
        Similarity { falling }
    }

    /// The similarity for exponent `e = 2 q(C) - q_ij(D_i) - q_ij(D_j)`, 1 to 1024.
    #[inline]
    pub fn of(&self, e: i32) -> u16 {
        let drop = usize::try_from(e.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        self.falling.get(drop).copied().unwrap_or(1)
    }
}

/// `floor(2^(16 + n / s))`: the inverse of a quantised logarithm n, in steps of 2^-16, from a table.
#[derive(Debug)]
pub(crate) struct Powers(Vec<u64>);

impl Powers {
    /// Fraction bits.
    pub(crate) const BITS: u32 = 16;

    /// The table for resolution `s`, 1 to 16.
    pub(crate) fn new(resolution: u32) -> Self {
        Powers((0..=MAX_BITS * resolution).map(|n| largest_power(resolution, Self::BITS * resolution + n)).collect())
    }

    /// The power of `n`, which is clamped to `40 s`.
    #[inline]
    pub(crate) fn of(&self, n: u32) -> u64 {
        self.0[(n as usize).min(self.0.len() - 1)]
    }
}

/// The largest x with `x^m <= 2^n`.
fn largest_power(m: u32, n: u32) -> u64 {
    (0..=n / m).rev().fold(0, |x, bit| if at_most_power(x | 1 << bit, m, n) { x | 1 << bit } else { x })
}

/// Whether `x^m <= 2^n`.
fn at_most_power(x: u64, m: u32, n: u32) -> bool {
    let floor = floor_of_log2_times(x, m.into());
    floor < u64::from(n) || (floor == u64::from(n) && x.is_power_of_two())
}

/// The least x with `steps * log2(x) >= n`.
fn threshold(n: u32, steps: u32) -> u64 {
    // The guess is at most one off; the exact test decides.
    let guess = (f64::from(n) / f64::from(steps)).exp2().ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let mut x = (guess as u64).max(1);
    while x > 1 && floor_of_log2_times(x - 1, steps.into()) >= n.into() {
        x -= 1;
    }
    while floor_of_log2_times(x, steps.into()) < n.into() {
        x += 1;
    }
    x
}

/// `floor(m * log2(x))`, exactly, for m up to 2^48: the exponent of `x^m`.
///
/// Computes the power with 128-bit mantissas, truncated after each step. A step loses less than two units in the last
/// place, all steps together less than 8 m. So the exponent is right unless the mantissa is within that margin below the
/// next power of two, which is asserted. Powers of two are exact.
pub(crate) fn floor_of_log2_times(x: u64, m: u64) -> u64 {
    let base = Mantissa { bits: u128::from(x) << u128::from(x).leading_zeros(), exponent: x.ilog2().into() };
    let mut power = Mantissa { bits: 1 << 127, exponent: 0 };
    for bit in (0..u64::BITS - m.leading_zeros()).rev() {
        power = power.times(power);
        if m >> bit & 1 == 1 {
            power = power.times(base);
        }
    }
    assert!(power.bits < u128::MAX - 16 * u128::from(m), "{x}^{m} is too close to a power of two for 128 bits");
    power.exponent
}

/// `bits / 2^127 * 2^exponent` with the top bit set.
#[derive(Clone, Copy)]
struct Mantissa {
    bits: u128,
    exponent: u64,
}

impl Mantissa {
    fn times(self, other: Self) -> Self {
        let upper = upper_half(self.bits, other.bits);
        let exponent = self.exponent + other.exponent;
        if upper >> 127 == 1 {
            Mantissa { bits: upper, exponent: exponent + 1 }
        } else {
            Mantissa { bits: upper << 1, exponent }
        }
    }
}

/// Upper 128 bits of a product.
fn upper_half(a: u128, b: u128) -> u128 {
    let low = u128::from(u64::MAX);
    let (a1, a0, b1, b0) = (a >> 64, a & low, b >> 64, b & low);
    let (mid1, mid2) = (a1 * b0, a0 * b1);
    let carry = (((a0 * b0) >> 64) + (mid1 & low) + (mid2 & low)) >> 64;
    a1 * b1 + (mid1 >> 64) + (mid2 >> 64) + carry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_values_equal_exact_powers() {
        // floor(m log2 x) = n exactly when 2^n <= x^m < 2^(n+1); small enough for 128 bits.
        for x in 1..=2_000_u64 {
            for m in [1, 2, 3, 7, 11] {
                let n = floor_of_log2_times(x, m);
                let power = u128::from(x).pow(u32::try_from(m).unwrap());
                assert!(power >> n == 1, "x {x} m {m} n {n}");
            }
        }
    }

    #[test]
    fn fine_is_monotone_and_exact_at_powers_of_two() {
        for resolution in [1, 3, 4, 16] {
            let log = Logarithm::new(resolution);
            for bits in 0..40 {
                assert_eq!(log.fine(1 << bits), 64 * resolution * bits);
                assert_eq!(log.q(1 << bits), resolution * bits);
                if bits > 1 {
                    assert!(log.fine((1 << bits) - 1) < 64 * resolution * bits);
                }
            }
            assert!((1..100_000).all(|x| log.fine(x) <= log.fine(x + 1)));
            assert_eq!(log.fine(0), 0);
            assert_eq!(log.fine(u64::MAX), 64 * resolution * 40 - 1);
        }
    }

    #[test]
    fn powers_are_the_largest_integers_below() {
        for s in [1_u32, 2, 3, 4] {
            let powers = Powers::new(s);
            for n in 0..=12 * s {
                let (p, bound) = (u128::from(powers.of(n)), 1_u128 << (16 * s + n));
                assert!(p.pow(s) <= bound && (p + 1).pow(s) > bound, "s {s} n {n} p {p}");
            }
            assert_eq!((powers.of(40 * s), powers.of(u32::MAX)), (1 << 56, 1 << 56));
        }
        assert_eq!([0, 1, 2, 8, 16].map(|n| Powers::new(16).of(n)), [65_536, 68_437, 71_467, 92_681, 131_072]);
    }

    #[test]
    fn similarity_equals_128_bit_arithmetic() {
        // v is the largest integer with ((2v - 1) / 2048)^2s <= 2^e. Squaring s times would overflow for large s;
        // for s = 1..5 both sides fit when scaled: (2v - 1)^2s <= 2^(22 s + e).
        for s in 1..=5_u32 {
            let table = Similarity::new(s);
            for drop in 0..=24 * s {
                let v = table.of(-i32::try_from(drop).unwrap());
                let fits =
                    |v: u16| (22 * s).checked_sub(drop).is_some_and(|n| u128::from(2 * v - 1).pow(2 * s) <= 1 << n);
                assert!(v == 1 || fits(v), "s {s} e -{drop} v {v}");
                assert!(v == 1024 || !fits(v + 1), "s {s} e -{drop} v {v}");
            }
        }
        let table = Similarity::new(4);
        assert_eq!((table.of(0), table.of(7), table.of(-8), table.of(-80), table.of(-1000)), (1024, 1024, 512, 1, 1));
    }
}
