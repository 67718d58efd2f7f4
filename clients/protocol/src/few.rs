//! A list that almost always has one item.

use std::ops::{Deref, DerefMut};

/// None, one, or many items. The one takes no memory of its own, and the many cost everybody no more than a pointer.
#[derive(Debug, Clone, Default)]
pub enum Few<T> {
    /// No item.
    #[default]
    None,
    /// One item.
    One([T; 1]),
    /// More, or fewer again after there were more.
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    /// No item.
    pub const fn new() -> Self {
        Self::None
    }

    /// Adds an item behind the others.
    pub fn push(&mut self, item: T) {
        match std::mem::take(self) {
            Self::None => *self = Self::One([item]),
            Self::One([first]) => *self = Self::Many(Box::new(vec![first, item])),
            Self::Many(mut items) => {
                items.push(item);
                *self = Self::Many(items);
            }
        }
    }

    /// Takes out the last item.
    pub fn pop(&mut self) -> Option<T> {
        self.len().checked_sub(1).map(|last| self.swap_remove(last))
    }

    /// Takes out an item, whose place the last one takes. Panics beyond the end.
    pub fn swap_remove(&mut self, at: usize) -> T {
        match std::mem::take(self) {
            Self::One([only]) if at == 0 => only,
            Self::Many(mut items) => {
                let gone = items.swap_remove(at);
                if items.len() < 2 {
                    *self = items.pop().map_or(Self::None, |only| Self::One([only]));
                } else {
                    if items.len() * 4 < items.capacity() {
                        items.shrink_to_fit();
                    }
                    *self = Self::Many(items);
                }
                gone
            }
            Self::None | Self::One(_) => panic!("no item at {at}"),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(one) => one,
            Self::Many(items) => items,
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, many) = match self {
            Self::None => (None, Vec::new()),
            Self::One([only]) => (Some(only), Vec::new()),
            Self::Many(items) => (None, *items),
        };
        one.into_iter().chain(many)
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_small() {
        assert_eq!((size_of::<Few<u32>>(), size_of::<Few<u64>>()), (16, 16));
        assert_eq!(size_of::<Few<(u32, u32, bool, bool)>>(), 16);
    }

    proptest! {
        #[test]
        fn does_what_a_list_does(steps in proptest::collection::vec((0u8..4, any::<u16>()), 0..100)) {
            let (mut few, mut model) = (Few::new(), Vec::new());
            for (what, item) in steps {
                match what {
                    0 | 1 => { few.push(item); model.push(item); }
                    2 => prop_assert_eq!(few.pop(), model.pop()),
                    _ if !model.is_empty() => {
                        let at = usize::from(item) % model.len();
                        prop_assert_eq!(few.swap_remove(at), model.swap_remove(at));
                    }
                    _ => {}
                }
                prop_assert_eq!(&few[..], &model[..]);
                prop_assert_eq!(few.clone().into_iter().collect::<Vec<_>>(), model.clone());
                prop_assert!(model.len() > 1 || !matches!(few, Few::Many(_)));
            }
        }
    }
}
