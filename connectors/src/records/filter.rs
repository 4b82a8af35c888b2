use std::str::FromStr;

use schema::shown;

use crate::values::{Number, Value};

/// A condition on a record: `quantity>0`, `country=France`, `part!=test`.
///
/// Two numbers are compared as numbers. Otherwise `=` and `!=` compare text, and the other operators are false. Every
/// condition is false for a field that is absent, empty (CSV) or null (JSON).
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    given: String,
    column: String,
    operator: Operator,
    value: String,
    number: Option<Number>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// An invalid condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--where {}: {what}; write it like quantity>0, with one of = != > >= < <=", shown(.given))]
pub struct FilterError {
    /// The condition, as the user gave it.
    pub given: String,
    /// Description of the error.
    pub what: &'static str,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(given: &str) -> Result<Self, FilterError> {
        let error = |what| FilterError { given: given.to_owned(), what };
        let at = given.find(['=', '!', '>', '<']).ok_or_else(|| error("there is no comparison"))?;
        let (column, rest) = given.split_at(at);
        let (operator, value) = [
            ("!=", Operator::NotEqual),
            (">=", Operator::GreaterOrEqual),
            ("<=", Operator::LessOrEqual),
            ("=", Operator::Equal),
            (">", Operator::Greater),
            ("<", Operator::Less),
        ]
        .into_iter()
        .find_map(|(sign, operator)| Some((operator, rest.strip_prefix(sign)?)))
        .ok_or_else(|| error("`!` is not a comparison"))?;
        let (column, value) = (column.trim(), value.trim());
        if column.is_empty() {
            return Err(error("the column is missing"));
        }
        if value.is_empty() {
            return Err(error("the value is missing"));
        }
        if value.starts_with(['=', '>', '<']) {
            return Err(error("there are two comparisons"));
        }
        Ok(Filter {
            given: given.to_owned(),
            column: column.to_owned(),
            operator,
            value: value.to_owned(),
            number: Number::parse(value),
        })
    }
}

impl Filter {
    /// The condition, as the user gave it.
    pub fn given(&self) -> &str {
        &self.given
    }

    /// The column that it tests.
    pub fn column(&self) -> &str {
        &self.column
    }

    pub(crate) fn passes(&self, value: &Value<'_>) -> bool {
        if let (Some(number), Some(limit)) = (value.number(), self.number) {
            let order = number.compare(limit);
            return match self.operator {
                Operator::Equal => order.is_eq(),
                Operator::NotEqual => order.is_ne(),
                Operator::Greater => order.is_gt(),
                Operator::GreaterOrEqual => order.is_ge(),
                Operator::Less => order.is_lt(),
                Operator::LessOrEqual => order.is_le(),
            };
        }
        let equal = match value {
            Value::Text(text) => *text == self.value,
            Value::Bool(truth) => (if *truth { "true" } else { "false" }) == self.value,
            // The value of the condition is text here, or it would have been compared as a number.
            Value::Integer(_) | Value::Number(_) | Value::Time(_) => false,
            Value::Absent | Value::Null | Value::NotUtf8 | Value::Array(_) | Value::Object(_) => return false,
        };
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(condition: &str, value: &Value<'_>) -> bool {
        condition.parse::<Filter>().unwrap().passes(value)
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    #[test]
    fn compares_numbers_as_numbers() {
        for (condition, yes, no) in [
            ("q>0", "1", "0"),
            ("q>=0", "0", "-1"),
            ("q<10", "9", "10"),
            ("q<=10", "10.0", "10.5"),
            ("q=1", "1.00", "2"),
            ("q!=1", "2", "1.0"),
            (" q >  -0.5 ", "-0", "-0.5"),
            ("q=12345678901234567890", "12345678901234567890", "12345678901234567891"),
        ] {
            assert!(passes(condition, &text(yes)), "{condition} {yes}");
            assert!(!passes(condition, &text(no)), "{condition} {no}");
        }
        assert!(passes("q>0", &Value::Number("0.5".into())));
        assert!(passes("q<0", &Value::Number("-3".into())));
        assert!(passes("q=7", &Value::Number("7".into())));
    }

    #[test]
    fn compares_text_for_equality_only() {
        assert!(passes("country=France", &text("France")));
        assert!(!passes("country=France", &text("france")));
        assert!(passes("country!=France", &text("7")));
        assert!(!passes("country>France", &text("Germany")));
        assert!(!passes("q>0", &text("many")));
        assert!(!passes("q<5", &text("nan")) && !passes("q>5", &text("inf")));
        assert!(passes("live=true", &Value::Bool(true)));
        assert!(passes("q!=many", &Value::Number("7".into())));
    }

    #[test]
    fn every_condition_is_false_for_a_field_without_a_value() {
        let nested = [Value::Array("[1]".into()), Value::Object("{}".into())];
        for value in [Value::Absent, Value::Null, Value::NotUtf8].into_iter().chain(nested) {
            for condition in ["q=1", "q!=1", "q>1", "q<1", "q!=x"] {
                assert!(!passes(condition, &value), "{condition} {value:?}");
            }
        }
    }

    #[test]
    fn errors_show_an_example() {
        for (given, what) in [
            ("quantity", "no comparison"),
            (">0", "column is missing"),
            ("q>", "value is missing"),
            ("q!0", "`!` is not"),
            ("q==1", "two comparisons"),
            ("", "no comparison"),
        ] {
            let error = given.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("quantity>0"), "{error}");
        }
        let filter: Filter = "a.b >= x=y".parse().unwrap();
        assert_eq!((filter.column(), filter.value.as_str(), filter.given()), ("a.b", "x=y", "a.b >= x=y"));
    }
}
