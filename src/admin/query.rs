//! Query strings, read strictly: a misspelt filter must not show everything.

use std::{borrow::Cow, ops::RangeInclusive, str::FromStr};

use super::answer::Problem;
use crate::protocol::percent;

/// More than any path knows; each is compared with all before it.
const PARAMETERS: usize = 32;

/// The parameters of a request. Each is to be taken out by its name; [`Query::end`] refuses what is left.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=%20`.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if pairs.len() >= PARAMETERS {
                return Err(Problem::bad_request("the query has too many parameters"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| Problem::bad_request("the query can't be read"))?;
            let value = decode(value).ok_or_else(|| Problem::bad_request(format!("{name}: can't be read")))?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Problem::bad_request(format!("{name}: is there twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter, if it is there.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    /// A whole number.
    pub(super) fn whole<T>(&mut self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, Problem>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.take(name) else { return Ok(None) };
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_digits && range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            Problem::bad_request(format!("{name}: must be a whole number from {least} to {most}"))
        })
    }

    /// One of these names.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let found = choices.iter().find(|(known, _)| *known == text).map(|(_, choice)| *choice);
        found.map(Some).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Problem::bad_request(format!("{name}: must be one of {}", names.join(", ")))
        })
    }

    /// Refuses what nobody took.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_request(format!("{name:.64}: there is no such parameter here"))),
        }
    }
}

/// Decodes a name or a value, in which a plus is a space.
fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent::decode(&text).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn values_are_decoded() {
        let mut read = query("a=1+2%2B&&b&%63=%C3%BC=");
        assert_eq!((read.take("a").as_deref(), read.take("b").as_deref()), (Some("1 2+"), Some("")));
        assert_eq!((read.take("c").as_deref(), read.take("c")), (Some("\u{fc}="), None));
        assert_eq!(read.end(), Ok(()));
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        for wrong in ["a=%", "%f=1", "a=%ff", "a=1&a=1", "%61=1&a=2"] {
            assert_eq!(Query::parse(wrong).unwrap_err().status, 400, "{wrong}");
        }
        let many = |count: usize| (0..count).map(|number| format!("a{number}&")).collect::<String>();
        assert!(Query::parse(&many(PARAMETERS)).is_ok() && Query::parse(&many(PARAMETERS + 1)).is_err());
        assert!(query("limt=1").end().unwrap_err().message.contains("limt"));
        for wrong in ["", "0", "11", "+5", "-1", "1.0", "5%20", "0x5", "99999999999999999999999"] {
            assert!(query(&format!("n={wrong}")).whole("n", 1..=10_u64).is_err(), "{wrong}");
        }
        assert_eq!(query("n=010").whole("n", 1..=10_u64), Ok(Some(10)));
        assert_eq!(query("").whole("n", 1..=10_u64), Ok(None));
        let choices = [("one", 1), ("two", 2)];
        assert_eq!(query("n=two").choice("n", &choices), Ok(Some(2)));
        assert!(query("n=Two").choice("n", &choices).unwrap_err().message.contains("one, two"));
    }
}
