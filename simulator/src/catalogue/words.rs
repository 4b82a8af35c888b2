//! Words of the catalogue. They are plain, and differ by taste, so that what a text says of an item can be learnt.

/// Categories and words of a taste.
#[derive(Debug)]
pub(super) struct Section {
    /// First level of the category.
    pub(super) department: &'static str,
    /// Second level. No two tastes have the same.
    pub(super) name: &'static str,
    /// Third level, and what a product is called.
    pub(super) leaves: [(&'static str, &'static str); 3],
    /// Median price in whole units of the currency.
    pub(super) price: u64,
}

const fn section(
    department: &'static str,
    name: &'static str,
    leaves: [(&'static str, &'static str); 3],
    price: u64,
) -> Section {
    Section { department, name, leaves, price }
}

/// Sections by taste.
#[rustfmt::skip]
pub(super) const SECTIONS: [Section; 25] = [
    section("Beauty", "Makeup", [("Lip", "lipstick"), ("Eyes", "eyeshadow"), ("Face", "foundation")], 69),
    section("Fashion", "Women", [("Dresses", "dress"), ("Knitwear", "cardigan"), ("Skirts", "skirt")], 159),
    section("Food", "Snacks", [("Nuts", "cashews"), ("Biscuits", "cookies"), ("Dried Fruit", "raisins")], 29),
    section("Home", "Kitchen", [("Cookware", "saucepan"), ("Knives", "cleaver"), ("Storage", "lunchbox")], 89),
    section("Electronics", "Audio", [("Headphones", "headphones"), ("Speakers", "speaker"), ("Radio", "radio")], 199),
    section("Beauty", "Skin Care", [("Serums", "serum"), ("Masks", "mask"), ("Sun", "sunscreen")], 99),
    section("Fashion", "Shoes", [("Sneakers", "sneakers"), ("Sandals", "sandals"), ("Boots", "boots")], 199),
    section("Kids", "Toys", [("Blocks", "blocks"), ("Plush", "bear"), ("Puzzles", "puzzle")], 59),
    section("Sports", "Fitness", [("Yoga", "mat"), ("Weights", "dumbbells"), ("Bands", "band")], 79),
    section("Jewellery", "Jade", [("Bracelets", "bracelet"), ("Pendants", "pendant"), ("Rings", "ring")], 499),
    section("Fashion", "Bags", [("Totes", "tote"), ("Backpacks", "backpack"), ("Wallets", "wallet")], 179),
    section("Food", "Tea", [("Green", "sencha"), ("Black", "assam"), ("Herbal", "chamomile")], 69),
    section("Home", "Bedding", [("Quilts", "quilt"), ("Pillows", "pillow"), ("Sheets", "sheet")], 129),
    section("Electronics", "Phones", [("Cases", "case"), ("Chargers", "charger"), ("Stands", "stand")], 49),
    section("Pets", "Cats", [("Food", "kibble"), ("Litter", "litter"), ("Trees", "scratcher")], 59),
    section("Fashion", "Men", [("Shirts", "shirt"), ("Jackets", "jacket"), ("Trousers", "chinos")], 169),
    section("Beauty", "Hair", [("Shampoo", "shampoo"), ("Styling", "wax"), ("Tools", "comb")], 59),
    section("Home", "Decor", [("Lamps", "lamp"), ("Rugs", "rug"), ("Vases", "vase")], 119),
    section("Sports", "Outdoor", [("Tents", "tent"), ("Bottles", "flask"), ("Lights", "lantern")], 149),
    section("Food", "Fruit", [("Citrus", "oranges"), ("Berries", "blueberries"), ("Tropical", "mangoes")], 39),
    section("Kids", "Baby", [("Clothes", "romper"), ("Feeding", "bib"), ("Bath", "towel")], 79),
    section("Electronics", "Appliances", [("Kettles", "kettle"), ("Blenders", "blender"), ("Fryers", "fryer")], 249),
    section("Office", "Stationery", [("Pens", "pen"), ("Paper", "notebook"), ("Desk", "organiser")], 25),
    section("Health", "Wellness", [("Massage", "massager"), ("Vitamins", "vitamins"), ("Sleep", "diffuser")], 99),
    section("Home", "Garden", [("Plants", "fern"), ("Pots", "pot"), ("Tools", "trowel")], 45),
];

/// First words of a title.
pub(super) const ADJECTIVES: [&str; 16] = [
    "Soft", "Classic", "Daily", "Light", "Bright", "Fine", "Little", "Pure", "Urban", "Modern", "Warm", "Fresh",
    "Royal", "Simple", "Lucky", "Silent",
];

/// Second words of a title.
pub(super) const COLOURS: [&str; 12] =
    ["red", "blue", "green", "amber", "rose", "pearl", "ivory", "coral", "olive", "navy", "plum", "silver"];

/// Brands.
pub(super) const BRANDS: [&str; 40] = [
    "Aveli", "Bonari", "Cendra", "Doremi", "Elsola", "Fenwood", "Gilda", "Harmo", "Inari", "Jolim", "Kestra", "Lumora",
    "Mirova", "Nordel", "Orchi", "Pelano", "Quenda", "Rivato", "Solenn", "Tamaki", "Ulvera", "Verano", "Wistra",
    "Xandel", "Yumeya", "Zephra", "Arbora", "Brisa", "Calyx", "Duneva", "Ember", "Fjella", "Grano", "Halden", "Isola",
    "Junipa", "Kaleva", "Lindra", "Marisol", "Nimbus",
];

/// Tags by taste.
pub(super) const STYLES: [&str; 15] = [
    "vintage", "minimal", "cute", "luxury", "sporty", "natural", "festive", "street", "cosy", "bold", "retro", "zen",
    "casual", "elegant", "playful",
];

/// Tags by number.
pub(super) const OCCASIONS: [&str; 8] = ["gift", "everyday", "travel", "party", "office", "home", "weekend", "season"];

/// First names of hosts.
pub(super) const FIRST_NAMES: [&str; 16] = [
    "Mei", "Anna", "Lin", "Sofia", "Yuki", "Omar", "Jia", "Elena", "Ravi", "Nina", "Tao", "Clara", "Hana", "Marco",
    "Xia", "Lea",
];

/// Last names of hosts.
pub(super) const LAST_NAMES: [&str; 13] =
    ["Chen", "Rossi", "Tanaka", "Novak", "Silva", "Wang", "Haddad", "Meyer", "Patel", "Kim", "Dubois", "Olsen", "Zhou"];
