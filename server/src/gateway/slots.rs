//! A slab that grows in pieces: nothing that is there ever moves, so growing never takes long.

const PIECE: usize = 256;

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by number. A number is used again, with another generation.
#[derive(Debug)]
pub struct Slots<T> {
    pieces: Vec<Vec<Place<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slots<T> {
    /// Empty.
    pub fn new() -> Self {
        Self { pieces: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// One more than the highest number ever used.
    pub fn end(&self) -> u32 {
        let full = self.pieces.len().saturating_sub(1) * PIECE;
        u32::try_from(full + self.pieces.last().map_or(0, Vec::len)).unwrap_or(u32::MAX)
    }

    /// Number and generation of a value that `make` makes of them. `None`: all 2^32 are taken.
    pub fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> Option<(u32, u32)> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow()?,
        };
        let place = self.place(index)?;
        place.value = Some(make(index, place.generation));
        let generation = place.generation;
        self.len += 1;
        Some((index, generation))
    }

    fn grow(&mut self) -> Option<u32> {
        let index = self.end();
        if index == u32::MAX {
            return None;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.push(Place { generation: 0, value: None });
        }
        Some(index)
    }

    fn place(&mut self, index: u32) -> Option<&mut Place<T>> {
        let index = index as usize;
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    /// The value.
    pub fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pieces.get(index / PIECE)?.get(index % PIECE)?.value.as_ref()
    }

    /// The value.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.place(index)?.value.as_mut()
    }

    /// The generation of a value that is there.
    pub fn generation(&self, index: u32) -> Option<u32> {
        let at = index as usize;
        let place = self.pieces.get(at / PIECE)?.get(at % PIECE)?;
        place.value.as_ref().map(|_| place.generation)
    }

    /// Takes a value out.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let place = self.place(index)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_again_with_another_generation() {
        let mut slots = Slots::new();
        let all: Vec<_> = (0..600u32).filter_map(|n| slots.insert(|index, _| (index, n))).collect();
        assert_eq!((slots.len(), slots.end()), (600, 600));
        assert!(all.iter().all(|(index, _)| slots.get(*index) == Some(&(*index, *index))));
        assert_eq!(slots.remove(5), Some((5, 5)));
        assert_eq!((slots.get(5), slots.generation(5)), (None, None));
        assert_eq!(slots.remove(5), None);
        assert_eq!(slots.insert(|index, generation| (index, generation)), Some((5, 1)));
        assert_eq!(slots.get_mut(5), Some(&mut (5, 1)));
    }
}
