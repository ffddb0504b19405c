//! A map from text to values whose copies share what they have in common.
//!
//! A 16-way tree over the bits of a hash. A clone copies one pointer; an edit copies the few nodes on its way (none
//! when nobody else holds them) and shares the rest. So a table of 5,000 routes is built in place, and an edit of one
//! of them costs the same as in a table of ten. A look-up hashes the key once and touches three to five nodes.

use ahash::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock};

/// Children of a branch; four bits of the hash choose one.
const FAN: usize = 16;
const BITS: u32 = 4;
/// A leaf with more slots becomes a branch.
const LEAF_SLOTS: usize = 6;
/// All bits of the hash are used up: leaves at this depth grow without bound (only full 64-bit collisions get here).
const MAX_DEPTH: u32 = u64::BITS / BITS;

/// Keyed once per process, so that names chosen to collide do not.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A value that knows its own key.
pub trait Keyed {
    /// The key; never changes.
    fn key(&self) -> &str;
}

impl<V: Keyed> Keyed for Arc<V> {
    fn key(&self) -> &str {
        V::key(self)
    }
}

/// A map from text to values (the top of this file says how); a clone copies one pointer.
pub struct Trie<V> {
    root: Node<V>,
    len: usize,
}

enum Node<V> {
    Empty,
    Leaf(Arc<[Slot<V>]>),
    Branch(Arc<[Node<V>; FAN]>),
}

#[derive(Clone)]
struct Slot<V> {
    hash: u64,
    value: V,
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Node::Empty, len: 0 }
    }
}

impl<V> fmt::Debug for Trie<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trie").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Leaf(slots) => Self::Leaf(slots.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

impl<V> Trie<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none: then nothing needs to be hashed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<V: Keyed> Trie<V> {
    /// The value of a key.
    #[inline]
    pub fn get(&self, key: &str) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        let hash = hash_of(key);
        let mut bits = hash;
        let mut node = &self.root;
        loop {
            match node {
                Node::Empty => return None,
                Node::Leaf(slots) => {
                    let slot = slots.iter().find(|slot| slot.hash == hash && slot.value.key() == key)?;
                    return Some(&slot.value);
                }
                Node::Branch(children) => {
                    node = &children[bits as usize % FAN];
                    bits >>= BITS;
                }
            }
        }
    }

    /// Calls `visit` with every value, in no particular order.
    pub fn for_each<'a>(&'a self, visit: &mut impl FnMut(&'a V)) {
        for_each(&self.root, visit);
    }
}

impl<V: Keyed + Clone> Trie<V> {
    /// Puts a value in, in the place of the one with the same key.
    pub fn set(&mut self, value: V) {
        let slot = Slot { hash: hash_of(value.key()), value };
        self.len += usize::from(insert(&mut self.root, 0, slot));
    }

    /// Takes the value of a key out, if it is there.
    pub fn remove(&mut self, key: &str) {
        if self.get(key).is_some() {
            remove(&mut self.root, 0, hash_of(key), key);
            self.len -= 1;
        }
    }
}

#[inline]
fn hash_of(key: &str) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

fn child_of(hash: u64, depth: u32) -> usize {
    (hash >> (depth * BITS)) as usize % FAN
}

/// Whether the key is new.
fn insert<V: Keyed + Clone>(node: &mut Node<V>, depth: u32, slot: Slot<V>) -> bool {
    match node {
        Node::Empty => {
            *node = Node::Leaf(Arc::from([slot]));
            true
        }
        Node::Leaf(slots) => {
            let same = |old: &Slot<V>| old.hash == slot.hash && old.value.key() == slot.value.key();
            let others: Vec<Slot<V>> = slots.iter().filter(|old| !same(old)).cloned().collect();
            let is_new = others.len() == slots.len();
            let slots: Vec<Slot<V>> = others.into_iter().chain([slot]).collect();
            *node = if slots.len() > LEAF_SLOTS && depth < MAX_DEPTH {
                split(slots, depth)
            } else {
                Node::Leaf(slots.into())
            };
            is_new
        }
        Node::Branch(children) => {
            let child = child_of(slot.hash, depth);
            insert(&mut Arc::make_mut(children)[child], depth + 1, slot)
        }
    }
}

fn split<V: Keyed + Clone>(slots: Vec<Slot<V>>, depth: u32) -> Node<V> {
    let mut children: [Node<V>; FAN] = std::array::from_fn(|_| Node::Empty);
    for slot in slots {
        insert(&mut children[child_of(slot.hash, depth)], depth + 1, slot);
    }
    Node::Branch(Arc::new(children))
}

fn remove<V: Keyed + Clone>(node: &mut Node<V>, depth: u32, hash: u64, key: &str) {
    match node {
        Node::Empty => {}
        Node::Leaf(slots) => {
            let rest: Vec<Slot<V>> =
                slots.iter().filter(|slot| slot.hash != hash || slot.value.key() != key).cloned().collect();
            *node = if rest.is_empty() { Node::Empty } else { Node::Leaf(rest.into()) };
        }
        Node::Branch(children) => {
            let children = Arc::make_mut(children);
            remove(&mut children[child_of(hash, depth)], depth + 1, hash, key);
            if children.iter().all(|child| matches!(child, Node::Empty)) {
                *node = Node::Empty;
            }
        }
    }
}

fn for_each<'a, V>(node: &'a Node<V>, visit: &mut impl FnMut(&'a V)) {
    match node {
        Node::Empty => {}
        Node::Leaf(slots) => slots.iter().for_each(|slot| visit(&slot.value)),
        Node::Branch(children) => children.iter().for_each(|child| for_each(child, visit)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Keyed, Trie};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[derive(Clone, Debug, PartialEq)]
    struct Pair(Arc<str>, u32);

    impl Keyed for Pair {
        fn key(&self) -> &str {
            &self.0
        }
    }

    fn pair(key: u32, value: u32) -> Pair {
        Pair(format!("key-{key}").into(), value)
    }

    #[test]
    fn it_holds_what_a_map_holds_and_old_copies_do_not_change() {
        let mut trie = Trie::default();
        let mut model = BTreeMap::new();
        let mut copies = Vec::new();
        for step in 0..6_000_u32 {
            let key = step.wrapping_mul(2_654_435_761) % 1_500;
            if step % 3 == 2 {
                trie.remove(pair(key, 0).key());
                model.remove(&key);
            } else {
                trie.set(pair(key, step));
                model.insert(key, step);
            }
            assert_eq!(trie.len(), model.len());
            if step % 1_000 == 0 {
                copies.push((trie.clone(), model.clone()));
            }
        }
        copies.push((trie, model));
        for (trie, model) in copies {
            for key in 0..1_500 {
                let expected = model.get(&key).map(|value| pair(key, *value));
                assert_eq!(trie.get(pair(key, 0).key()), expected.as_ref());
            }
            let mut seen = 0;
            trie.for_each(&mut |_| seen += 1);
            assert_eq!(seen, model.len());
        }
    }
}
