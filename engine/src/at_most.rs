//! Lists that others make as long as they like.
//!
//! A body is bounded in bytes, but a list of a hundred million empty objects takes twenty times its
//! text in memory. Such a list is given up while it is read.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// A list of at most `MOST` items. Reading a longer one fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtMost<T, const MOST: usize>(pub Vec<T>);

impl<T, const MOST: usize> Default for AtMost<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, MOST>(PhantomData)).map(Self)
    }
}

struct Items<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Items<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::invalid_length(MOST.saturating_add(1), &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<u8>, String> {
        let list: Result<AtMost<u8, 3>, _> = serde_json::from_str(json);
        list.map(|list| list.0).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_ends_at_its_limit() {
        assert_eq!(read("[]").unwrap(), [0; 0]);
        assert_eq!(read("[1, 2, 3]").unwrap(), [1, 2, 3]);
        // What comes after is not even looked at.
        let error = read("[1, 2, 3, 4, not JSON").unwrap_err();
        assert!(error.contains("at most 3"), "{error}");
        assert!(read("{}").is_err());
    }
}
