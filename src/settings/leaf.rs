//! The value of a key: one text, an option, a list or a map, and what is said when it is none.

use std::borrow::Cow::{self, Borrowed, Owned};
use std::collections::BTreeMap;

use super::node::{Node, Place, Raw, Style};
use super::values::quoted;
use crate::hint;

/// Why a value was not taken.
pub(super) struct Mismatch {
    pub(super) message: String,
    pub(super) place: Place,
    /// Whether the value itself may be shown.
    pub(super) shown: bool,
}

/// The value of a key.
pub(super) trait Leaf {
    /// Takes the value of `node`; `range` bounds the numbers in it.
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch>;
    /// The value in YAML.
    fn show(&self) -> String;
    /// Whether the value must never be shown; its key then has a `…_file` twin.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A value that is one text.
pub(super) trait Scalar: Sized {
    const SECRET: bool = false;
    /// Whether quotes change nothing: not so for a number.
    const QUOTABLE: bool = true;
    /// `Err` says what was expected: "a whole number from 1 to 65535".
    fn parse(text: &str, range: Option<(f64, f64)>) -> Result<Self, String>;
    fn show(&self) -> String;
    /// Whether a text that was refused may be shown.
    fn shown(_text: &str) -> bool {
        !Self::SECRET
    }
}

fn scalar<T: Scalar>(node: &Node, range: Option<(f64, f64)>) -> Result<T, Mismatch> {
    let mismatch = |message, shown| Mismatch { message, place: node.place.clone(), shown };
    let wanted = || T::parse("\0", range).err().unwrap_or_else(|| "a text".to_owned());
    match &node.raw {
        Raw::Scalar { style: Style::Quoted, .. } if !T::QUOTABLE => {
            Err(mismatch(format!("expected {} without quotes", wanted()), false))
        }
        Raw::Scalar { text, .. } => T::parse(text, range).map_err(|expected| {
            let shown = T::shown(text);
            let found = match (shown, text.trim().is_empty()) {
                (true, true) => ", found an empty text".to_owned(),
                (true, false) => format!(", found `{}`", text.escape_debug()),
                (false, _) => String::new(),
            };
            mismatch(format!("expected {expected}{found}"), shown)
        }),
        Raw::Null => Err(mismatch(format!("expected {}, found nothing", wanted()), false)),
        Raw::List(_) => Err(mismatch(format!("expected {}, found a list", wanted()), false)),
        Raw::Map(_) => Err(mismatch(format!("expected {}, found a mapping", wanted()), false)),
    }
}

impl<T: Scalar> Leaf for T {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        *self = scalar(node, range)?;
        Ok(())
    }

    fn show(&self) -> String {
        Scalar::show(self)
    }

    fn is_secret(&self) -> bool {
        T::SECRET
    }
}

impl<T: Scalar> Leaf for Option<T> {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        let unset = node.is_null()
            || matches!(&node.raw, Raw::Scalar { text, style: Style::Bare } if text.trim() == "null");
        *self = if unset { None } else { Some(scalar(node, range)?) };
        Ok(())
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "null".to_owned(), Scalar::show)
    }

    fn is_secret(&self) -> bool {
        T::SECRET
    }
}

/// A list replaces the list of the layer below. One value stands for a list of one.
impl<T: Scalar + PartialEq> Leaf for Vec<T> {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        let mut items = Vec::new();
        for item in list(node) {
            let item = scalar(item.as_ref(), range)?;
            if !items.contains(&item) {
                items.push(item);
            }
        }
        *self = items;
        Ok(())
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(Scalar::show).collect();
        format!("[{}]", items.join(", "))
    }
}

/// The items of a list, however it is written.
pub(super) fn list(node: &Node) -> Vec<Cow<'_, Node>> {
    match &node.raw {
        Raw::List(items) => items.iter().map(Borrowed).collect(),
        Raw::Scalar { text, style: Style::Bare } => {
            split_list(text).map(|item| Owned(Node::bare(item, node.place.clone()))).collect()
        }
        _ => vec![Borrowed(node)],
    }
}

/// The items between commas, without the blanks around them; an empty item is none.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A map keeps what the layer below said of other names. In the environment: `name=value,name=value`.
impl<T: Scalar> Leaf for BTreeMap<String, T> {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        let wanted = |what: &str| Mismatch {
            message: format!("expected {what}"),
            place: node.place.clone(),
            shown: false,
        };
        let mut read = Self::new();
        match &node.raw {
            Raw::Map(pairs) => {
                for pair in pairs {
                    read.insert(pair.key.clone(), scalar(&pair.node, range)?);
                }
            }
            Raw::Scalar { text, style: Style::Bare } => {
                for item in split_list(text) {
                    let (name, value) =
                        item.split_once('=').ok_or_else(|| wanted("`name=value` between commas"))?;
                    let value = scalar(&Node::bare(value.trim(), node.place.clone()), range)?;
                    read.insert(name.trim().to_owned(), value);
                }
            }
            Raw::Null => {}
            _ => return Err(wanted("a mapping of names to values")),
        }
        self.append(&mut read);
        Ok(())
    }

    fn show(&self) -> String {
        let items: Vec<String> =
            self.iter().map(|(name, value)| format!("{}: {}", quoted(name), value.show())).collect();
        format!("{{{}}}", items.join(", "))
    }

    fn is_secret(&self) -> bool {
        T::SECRET
    }
}

impl<T: Scalar + PartialEq> Leaf for BTreeMap<String, Vec<T>> {
    fn set(&mut self, node: &Node, range: Option<(f64, f64)>) -> Result<(), Mismatch> {
        match &node.raw {
            Raw::Map(pairs) => {
                for pair in pairs {
                    let mut items = Vec::new();
                    items.set(&pair.node, range)?;
                    let name = self.keys().find(|name| hint::fold(name) == hint::fold(&pair.key));
                    let name = name.unwrap_or(&pair.key).clone();
                    self.insert(name, items);
                }
                Ok(())
            }
            Raw::Null => Ok(()),
            _ => Err(Mismatch {
                message: "expected a mapping of names to lists".to_owned(),
                place: node.place.clone(),
                shown: false,
            }),
        }
    }

    fn show(&self) -> String {
        let items: Vec<String> =
            self.iter().map(|(name, value)| format!("{}: {}", quoted(name), value.show())).collect();
        format!("{{{}}}", items.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_in_the_environment_comes_back_item_by_item(
            items in prop::collection::vec("[a-zA-Z0-9:./_-]{1,12}", 0..8),
            blanks in prop::collection::vec(" {0,2}", 8),
            commas in 1_usize..3,
        ) {
            let padded: Vec<String> =
                items.iter().zip(&blanks).map(|(item, blank)| format!("{blank}{item}{blank}")).collect();
            let joined = padded.join(&",".repeat(commas));
            prop_assert_eq!(split_list(&joined).collect::<Vec<_>>(), items);
        }
    }
}
