//! The formulas with a logarithm or a power, computed with arbitrary-precision integers only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::thread::LocalKey;

use num_bigint::BigUint;

/// Cached values by argument and resolution.
type Memo<A, V> = RefCell<HashMap<(A, u32), V>>;

fn memoised<A: Hash + Eq + Copy, V: Copy>(
    memo: &'static LocalKey<Memo<A, V>>,
    argument: A,
    s: u32,
    compute: impl FnOnce() -> V,
) -> V {
    if let Some(value) = memo.with_borrow(|memo| memo.get(&(argument, s)).copied()) {
        return value;
    }
    let value = compute();
    memo.with_borrow_mut(|memo| memo.insert((argument, s), value));
    value
}

/// `floor(n * log2(x))` for x >= 1, exactly: an integer y >= 1 has `floor(log2(y)) + 1` bits, and
/// `n * log2(x) = log2(x^n)`.
pub(crate) fn floor_log2_times(n: u32, x: u64) -> u64 {
    assert!(x >= 1, "the logarithm of 0");
    BigUint::from(x).pow(n).bits() - 1
}

/// > `q(x) = floor(s * log2(x))` for integers x >= 1, with `s = resolution`.
pub(crate) fn q(x: u64, s: u32) -> i64 {
    thread_local!(static MEMO: Memo<u64, i64> = RefCell::default());
    memoised(&MEMO, x, s, || i64::try_from(floor_log2_times(s, x)).expect("a small number"))
}

/// The `floor(64 * s * log2(x))` inside `q_ab(x)`.
pub(crate) fn fine_log(x: u64, s: u32) -> u64 {
    thread_local!(static MEMO: Memo<u64, u64> = RefCell::default());
    memoised(&MEMO, x, s, || floor_log2_times(64 * s, x))
}

/// > With a phase for a pair of names, `q_ab(x) = floor((floor(64 * s * log2(x)) + phase) / 64)`,
/// > `phase = (id64(a) xor id64(b)) mod 64`.
///
/// Takes the inner floor, [`fine_log`] of x, as it is the same for every pair.
pub(crate) fn q_with_phase(fine_log: u64, id_a: u64, id_b: u64) -> i64 {
    let phase = (id_a ^ id_b) % 64;
    i64::try_from((fine_log + phase) / 64).expect("a small number")
}

/// `max(1, min(1024, floor(0.5 + 1024 * 2^(exponent / (2 s)))))`: the outer part of these definitions.
///
/// > `v_ij = max(1, min(1024, floor(0.5 + 1024 * 2^((2 q(C_ij) - q_ij(D_i) - q_ij(D_j)) / (2 s)))))`
///
/// > `w_uv = max(1, min(1024, floor(0.5 + 1024 * 2^((2 q'(W_uv) - q'_uv(A_v) - q'_uv(B_u)) / (2 * user_resolution)))))`
///
/// With a non-negative exponent the power is at least 1, so the value is 1024. Else let e = -exponent:
///
/// ```text
/// n <= 0.5 + 1024 * 2^(-e / (2s))   <=>   2n - 1 <= 2^11 * 2^(-e / (2s))   <=>   (2n - 1)^(2s) * 2^e <= 2^(22s)
/// ```
///
/// Both sides are positive for n >= 1, and the floor is the largest n for which this holds.
pub(crate) fn similarity(exponent: i64, s: u32) -> u64 {
    thread_local!(static MEMO: Memo<i64, u64> = RefCell::default());
    memoised(&MEMO, exponent, s, || {
        if exponent >= 0 {
            return 1024;
        }
        let bound = BigUint::from(1_u8) << (22 * s);
        let holds = |n: u64| BigUint::from(2 * n - 1).pow(2 * s) << exponent.unsigned_abs() <= bound;
        (1..=1024).rev().find(|n| holds(*n)).unwrap_or(1)
    })
}

/// > `p(n) = floor(2^(16 + n / s))`.
pub(crate) fn power(n: i64, s: u32) -> u64 {
    thread_local!(static MEMO: Memo<i64, u64> = RefCell::default());
    memoised(&MEMO, n, s, || {
        let exponent = 16 * u64::from(s) + u64::try_from(n).expect("no count is above what it is compared with");
        u64::try_from((BigUint::from(1_u8) << exponent).nth_root(s)).expect("below 2^57")
    })
}

/// The `floor(2^48 * log2(x))` of this definition, for x >= 1.
///
/// > `X(x) = x * floor(2^48 * log2(x))`
///
/// Computed bit by bit: squaring x doubles its logarithm. Of the 320 bits after the point, 48 squarings lose less than 60.
pub(crate) fn log48(x: u64) -> u64 {
    const POINT: u64 = 320;
    thread_local!(static MEMO: Memo<u64, u64> = RefCell::default());
    memoised(&MEMO, x, 48, || {
        let whole = u64::from(x.ilog2());
        let mut rest = (BigUint::from(x) << POINT) >> whole; // at least 1 and below 2
        let mut log = whole;
        for _ in 0..48 {
            rest = (&rest * &rest) >> POINT;
            let bit = rest.bits() - 1 - POINT; // 1 if `rest` is 2 or more
            rest >>= bit;
            log = 2 * log + bit;
        }
        log
    })
}
