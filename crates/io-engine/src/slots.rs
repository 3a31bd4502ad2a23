//! The slot table: who is in flight, under which generation.
//!
//! Slots never move (I5): the table is a boxed slice of fixed length, because the kernel holds addresses inside. Free slots are
//! reused first-in first-out, so that a generation lasts as long as it can (I4).

use io_core::Token;
use std::collections::VecDeque;

pub(crate) struct Slots<T> {
    slots: Box<[Slot<T>]>,
    free: VecDeque<u32>,
}

struct Slot<T> {
    generation: u64,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) fn new(depth: u32) -> Slots<T> {
        assert!((1..=Token::MAX_SLOT + 1).contains(&depth), "depth {depth} is out of range");
        Slots { slots: (0..depth).map(|_| Slot { generation: 0, value: None }).collect(), free: (0..depth).collect() }
    }

    /// An empty table that takes over from this one: no token of this one is used again (I4).
    pub(crate) fn successor(&self) -> Slots<T> {
        let generation = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0);
        let mut next = Slots::new(self.depth());
        next.slots.iter_mut().for_each(|slot| slot.generation = generation);
        next
    }

    pub(crate) fn depth(&self) -> u32 {
        self.slots.len() as u32
    }

    pub(crate) fn free(&self) -> u32 {
        self.free.len() as u32
    }

    pub(crate) fn used(&self) -> u32 {
        self.depth() - self.free()
    }

    /// Puts a value into a free slot; `make` is called only if there is one. The value is built where it stays.
    #[inline]
    pub(crate) fn insert_with(&mut self, make: impl FnOnce() -> T) -> Option<(Token, &mut T)> {
        let index = self.free.pop_front()?;
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.value.is_none());
        slot.generation += 1;
        Some((Token::new(index, slot.generation), slot.value.insert(make())))
    }

    /// The value that `token` names, if it is still there.
    #[inline]
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.slot() as usize)?;
        if Token::new(token.slot(), slot.generation) != token {
            return None;
        }
        slot.value.as_mut()
    }

    /// The value in a slot, whatever its generation, with its token.
    pub(crate) fn at(&mut self, index: u32) -> Option<(Token, &mut T)> {
        let slot = self.slots.get_mut(index as usize)?;
        let token = Token::new(index, slot.generation);
        slot.value.as_mut().map(|value| (token, value))
    }

    /// Takes the value out and frees the slot. Only a completion may cause this (the law).
    #[inline]
    pub(crate) fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.slot() as usize)?;
        if Token::new(token.slot(), slot.generation) != token {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push_back(token.slot());
        Some(value)
    }

    /// All that is in flight.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(i, s)| s.value.as_ref().map(|v| (Token::new(i as u32, s.generation), v)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_reused_in_turn_and_generations_differ() {
        let mut slots = Slots::new(2);
        let mut insert = |c| slots.insert_with(|| c).map(|(token, _)| token);
        let a = insert('a').unwrap();
        let b = insert('b').unwrap();
        assert_eq!(insert('c'), None);
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None, "a second answer finds nothing");
        let (c, _) = slots.insert_with(|| 'c').unwrap();
        assert_eq!(c.slot(), a.slot());
        assert_ne!(c, a);
        assert!(slots.get_mut(a).is_none(), "stale");
        assert_eq!(slots.get_mut(b), Some(&mut 'b'));
        assert_eq!(slots.remove(b), Some('b'));
        assert_eq!((slots.free(), slots.used()), (1, 1));
    }

    #[test]
    fn a_successor_uses_no_token_again() {
        let mut slots = Slots::new(2);
        let token = |slots: &mut Slots<char>| slots.insert_with(|| 'x').unwrap().0;
        let mut seen = Vec::new();
        for _ in 0..7 {
            seen.push(token(&mut slots));
            slots.remove(seen[seen.len() - 1]);
        }
        let mut next = slots.successor();
        let new = [token(&mut next), token(&mut next)];
        assert!(new.iter().all(|token| !seen.contains(token)));
        assert!(seen.iter().all(|&token| next.get_mut(token).is_none()));
    }

    #[test]
    fn addresses_do_not_change() {
        let mut slots = Slots::new(3);
        let (first, _) = slots.insert_with(|| [0u8; 8]).unwrap();
        let address = slots.get_mut(first).unwrap() as *const _ as usize;
        for _ in 0..10 {
            let (other, _) = slots.insert_with(|| [1u8; 8]).unwrap();
            slots.remove(other);
        }
        assert_eq!(slots.get_mut(first).unwrap() as *const _ as usize, address);
    }
}
