use crate::Options;
use crate::parameters::{FIRST_TASTE, TASTES};
use crate::random::{Random, mixed};

/// Latent tastes: what there is to learn. Taste `k` owns the items and rooms whose number leaves `k` when divided by the
/// number of tastes, its most popular item first; a user has a first and a second taste. Nothing is stored.
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

    /// A user's first and second taste. Some tastes are more common than others.
    pub(crate) fn of_user(self, user: u32) -> [u32; 2] {
        [0, 1].map(|salt| {
            let x = u64::from(mixed(self.seed, user, salt));
            u32::try_from((u128::from(x * x) * u128::from(self.count)) >> 64).expect("below the number of tastes")
        })
    }

    /// The one of a user's tastes that decides this time.
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
