use crate::Options;
use crate::parameters::{FIRST_TASTE, TASTES};
use crate::random::{Random, hash32};

/// Latent tastes, the structure that a recommender can learn. Taste `k` has the items and rooms with number `n % count == k`,
/// the most popular items first. A user has a first and a second taste. All are computed, not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tastes {
    count: u32,
    items: u32,
    seed: u64,
}

impl Tastes {
    pub(crate) fn new(options: &Options) -> Self {
        let count = TASTES.min(options.rooms / 2).min(options.items / 100).max(1);
        Tastes { count, items: options.items, seed: options.seed }
    }

    pub(crate) fn count(self) -> u32 {
        self.count
    }

    /// The taste of a room or an item.
    pub(crate) fn of(self, number: u32) -> u32 {
        number % self.count
    }

    /// First and second taste of a user. Tastes are not equally common.
    pub(crate) fn of_user(self, user: u32) -> [u32; 2] {
        [0, 1].map(|salt| {
            let x = u64::from(hash32(self.seed, user, salt));
            u32::try_from((u128::from(x * x) * u128::from(self.count)) >> 64).expect("below the number of tastes")
        })
    }

    /// Draws the taste that decides the next choice of a user.
    pub(crate) fn deciding(self, user: u32, random: &mut Random) -> u32 {
        let [first, second] = self.of_user(user);
        if random.happens(FIRST_TASTE) { first } else { second }
    }

    /// An item of a taste, by popularity.
    pub(crate) fn item(self, taste: u32, random: &mut Random) -> u32 {
        let of_taste = (self.items - taste).div_ceil(self.count);
        random.zipf(of_taste) * self.count + taste
    }

    /// Any item, by popularity.
    pub(crate) fn any_item(self, random: &mut Random) -> u32 {
        random.zipf(self.items)
    }
}
