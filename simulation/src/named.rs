//! Enums whose variants have a name in reports.

/// Declares an enum with `EVERY` variant in order, their `COUNT`, a `name` and an `index`.
macro_rules! named_enum {
    ($(#[$attribute:meta])* $enum:ident { $($variant:ident $name:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $($variant,)* }

        impl $enum {
            pub const EVERY: &[Self] = &[$(Self::$variant,)*];

            pub(crate) const COUNT: usize = Self::EVERY.len();

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The index in [`Self::EVERY`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use named_enum;
