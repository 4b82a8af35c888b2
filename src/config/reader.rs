use super::error::{ConfigError, ConfigErrors, Origin, Problem};
use super::layers::Layers;
use super::raw::{Kind, Table, Value, dotted};

/// Reads typed values out of the merged layers and gathers the mistakes on the way.
///
/// A value that cannot be used is replaced by a stand-in, so that reading goes on; [`Reader::finish`] lets
/// nothing out that was read with one.
pub(super) struct Reader {
    root: Table,
    errors: Vec<ConfigError>,
    whole: bool,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Reader { root: layers.root, errors: layers.errors, whole: layers.whole }
    }

    /// The value of `name` in `section` by its rule, which returns the value, or what would be right.
    pub(super) fn read<T: Default>(
        &mut self,
        section: &str,
        name: &str,
        rule: impl Fn(&Kind) -> Result<T, String>,
    ) -> T {
        self.read_or(T::default(), section, name, rule)
    }

    /// [`Reader::read`] with a stand-in of the caller's.
    pub(super) fn read_or<T>(
        &mut self,
        stand_in: T,
        section: &str,
        name: &str,
        rule: impl Fn(&Kind) -> Result<T, String>,
    ) -> T {
        let value = find(&self.root, section, name);
        check(value, &dotted(section, name), &rule, &mut self.errors).unwrap_or(stand_in)
    }

    /// [`Reader::read`] of a value that is not repeated in a message: it may be a secret, put there by mistake.
    pub(super) fn read_secret<T: Default>(
        &mut self,
        section: &str,
        name: &str,
        rule: impl Fn(&Kind) -> Result<T, String>,
    ) -> T {
        let known = self.errors.len();
        let read = self.read(section, name, rule);
        self.errors[known..].iter_mut().for_each(ConfigError::hide);
        read
    }

    /// [`Reader::refuse`] without repeating the value.
    pub(super) fn refuse_hidden(&mut self, section: &str, name: &str, right: String) {
        self.refuse(section, name, right);
        self.errors.last_mut().into_iter().for_each(ConfigError::hide);
    }

    /// The names of a section's values.
    pub(super) fn names(&self, section: &str) -> impl Iterator<Item = &str> {
        find_section(&self.root, section).keys().map(String::as_str)
    }

    /// The raw value of `name` in `section`.
    pub(super) fn value(&self, section: &str, name: &str) -> &Value {
        find(&self.root, section, name)
    }

    /// How many mistakes there are so far.
    pub(super) fn mistakes(&self) -> usize {
        self.errors.len()
    }

    /// Whether every layer could be parsed.
    pub(super) fn whole(&self) -> bool {
        self.whole
    }

    /// Reports that the value of `name` in `section` is not `right`.
    pub(super) fn refuse(&mut self, section: &str, name: &str, right: String) {
        let error = wrong(self.value(section, name), &dotted(section, name), right);
        self.errors.push(error);
    }

    /// Reports a mistake.
    pub(super) fn report(&mut self, origin: Origin, problem: Problem) {
        self.errors.push(ConfigError { origin, problem });
    }

    /// What was read, if there was no mistake at all.
    pub(super) fn finish<T>(self, read: T) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() { Ok(read) } else { Err(ConfigErrors::new(self.errors)) }
    }
}

/// The merged layers have every section and every key of the defaults, so every one that is read.
fn find<'a>(root: &'a Table, section: &str, name: &str) -> &'a Value {
    find_section(root, section).get(name).unwrap_or_else(|| panic!("deltarec.toml has no key {section}.{name}"))
}

fn find_section<'a>(root: &'a Table, section: &str) -> &'a Table {
    section.split('.').fold(root, |table, part| match table.get(part).map(|value| &value.kind) {
        Some(Kind::Table(inner)) => inner,
        _ => panic!("deltarec.toml has no section [{section}]"),
    })
}

/// Applies a rule to a value and to those it covers: a mistake stays one when a later layer hides it.
fn check<T>(
    value: &Value,
    key: &str,
    rule: &impl Fn(&Kind) -> Result<T, String>,
    errors: &mut Vec<ConfigError>,
) -> Option<T> {
    if let Some(covered) = &value.covered {
        check(covered, key, rule, errors);
    }
    rule(&value.kind).map_err(|right| errors.push(wrong(value, key, right))).ok()
}

fn wrong(value: &Value, key: &str, right: String) -> ConfigError {
    let problem = Problem::Wrong { key: key.into(), right, given: value.given.clone() };
    ConfigError { origin: value.origin.clone(), problem }
}
