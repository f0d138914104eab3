//! How a settings struct declares itself once: the key, its default, its range and its documentation stand in one
//! line of [`section!`], and reading, `config/settings.yaml` and the list of effective values all walk that line.

use std::collections::BTreeMap;

use super::leaf::Leaf;

/// What a section says of one of its keys.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The field's doc comment, line by line.
    pub(super) docs: &'static [&'static str],
    /// The numbers that make sense; for a duration in seconds.
    pub(super) range: Option<(f64, f64)>,
}

/// Something that can stand under a key.
pub(super) trait Entry {
    fn accept(&mut self, key: &Key, visitor: &mut dyn Visitor);
}

impl<L: Leaf> Entry for L {
    fn accept(&mut self, key: &Key, visitor: &mut dyn Visitor) {
        visitor.leaf(key, self);
    }
}

/// A struct whose fields are keys.
pub(super) trait Section {
    fn fields(&mut self, visitor: &mut dyn Visitor);
}

/// Sections under names that the user chooses.
pub(super) trait Named {
    fn names(&self) -> Vec<String>;
    /// The section of this name, made with its defaults if there is none.
    fn named(&mut self, name: &str) -> &mut dyn Section;
    fn forget(&mut self, name: &str);
    /// A section with its defaults, for documentation.
    fn example(&self) -> Box<dyn Section>;
}

impl<S: Section + Default + 'static> Named for BTreeMap<String, S> {
    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn named(&mut self, name: &str) -> &mut dyn Section {
        self.entry(name.to_owned()).or_default()
    }

    fn forget(&mut self, name: &str) {
        self.remove(name);
    }

    fn example(&self) -> Box<dyn Section> {
        Box::new(S::default())
    }
}

/// What walks over the tree.
pub(super) trait Visitor {
    fn leaf(&mut self, key: &Key, leaf: &mut dyn Leaf);
    fn section(&mut self, key: &Key, section: &mut dyn Section);
    fn named(&mut self, key: &Key, sections: &mut dyn Named);
}

/// Declares a settings struct: `field as "key": Type = default, from low to high;`, where `as` is left out when the
/// key is the field's name, and the range where every value of the type will do.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:expr])+
                $field:ident $(as $key:literal)? : $type:ty = $default:expr $(, from $low:literal to $high:literal)? ;
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::settings::tree::Section for $name {
            fn fields(&mut self, visitor: &mut dyn $crate::settings::tree::Visitor) {
                $(
                    $crate::settings::tree::Entry::accept(
                        &mut self.$field,
                        &$crate::settings::tree::Key {
                            name: section!(@key $field $($key)?),
                            docs: &[$($doc),+],
                            range: section!(@range $($low $high)?),
                        },
                        visitor,
                    );
                )*
            }
        }

        impl $crate::settings::tree::Entry for $name {
            fn accept(
                &mut self,
                key: &$crate::settings::tree::Key,
                visitor: &mut dyn $crate::settings::tree::Visitor,
            ) {
                visitor.section(key, self);
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@range) => { None };
    (@range $low:literal $high:literal) => { Some(($low, $high)) };
}
pub(super) use section;

/// Declares a closed set of words.
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $( $(#[doc = $doc:expr])+ $variant:ident = $word:literal, )* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[doc = $doc])+ $variant, )* }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The word in the settings.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::settings::leaf::Scalar for $name {
            fn parse(text: &str, _: Option<(f64, f64)>) -> Result<Self, String> {
                $crate::settings::values::choose(text, Self::ALL, |choice| choice.as_str())
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}
pub(super) use choice;
