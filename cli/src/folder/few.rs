//! A list that nearly always has one item, which then stands in place: a folder has thousands of such lists.

use std::ops::Deref;

/// The list. It reads as a slice.
#[derive(Debug)]
pub(super) enum Few<T> {
    /// One item.
    One(T),
    /// None, or several.
    Many(Box<[T]>),
}

impl<T> Few<T> {
    /// The items, to change them.
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many.into_vec(),
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut items: Vec<T>) -> Self {
        match (items.len(), items.pop()) {
            (1, Some(one)) => Self::One(one),
            (_, None) => Self::default(),
            (_, Some(last)) => {
                items.push(last);
                Self::Many(items.into())
            }
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Few;

    #[test]
    fn it_reads_and_gives_back_what_was_put_in() {
        for items in [vec![], vec![1], vec![1, 2, 3]] {
            let few = Few::from(items.clone());
            assert_eq!(*few, *items);
            assert_eq!(few.into_vec(), items);
        }
    }
}
