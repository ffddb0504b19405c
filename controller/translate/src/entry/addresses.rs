//! Which virtual addresses hosts of ServiceEntries have, as Istio gives them: from 240.240.0.0/16 and 2001:2::/48.
//!
//! Pure: what comes out depends on what is there, not on the order in which it came. Each host has a list of addresses in
//! the order of its preference: the one that its status names, then those that a hash of its name leads to. Of several
//! that want one address, whoever writes it into `spec.addresses` has it, then whoever has it in its status, then the
//! oldest, then by name; the others go on in their lists (deferred acceptance, which ends the same in whatever order it is
//! run). A change runs those anew that it can concern.

use sluice_crds::{Name, ObjectRef};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are tried for a host. A network that is not nearly full never needs as many.
const TRIES: u64 = 4096;

/// A network that addresses are given from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Who wants an address: a host of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    entry: ObjectRef,
    /// The host, or the address where the entry itself says it.
    host: Name,
    family: Family,
}

/// What it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    created_s: i64,
    /// The address that comes first.
    first: Option<IpAddr>,
    /// Whether no other will do: the entry says it itself.
    is_fixed: bool,
}

/// What an entry wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) created_s: i64,
    /// Hosts that are to have addresses.
    pub(crate) hosts: BTreeSet<Name>,
    /// What its status names already.
    pub(crate) given: Vec<(Name, IpAddr)>,
    /// What its `spec` names.
    pub(crate) own: Vec<IpAddr>,
}

/// All addresses.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    wishes: BTreeMap<Claim, Wish>,
    held: BTreeMap<IpAddr, Claim>,
    /// Where each has got to in its list, and what it has there.
    places: BTreeMap<Claim, (u64, IpAddr)>,
    /// Who was turned away, by address; and the other way round.
    turned_away: BTreeMap<IpAddr, BTreeSet<Claim>>,
    turned_from: BTreeMap<Claim, Vec<IpAddr>>,
}

impl Addresses {
    /// Takes in what an entry wants now. Returns the entries whose addresses may be others.
    pub(crate) fn set(&mut self, entry: &ObjectRef, wishes: Wishes) -> BTreeSet<ObjectRef> {
        let new = claims(entry, wishes);
        let first = Claim { entry: entry.clone(), host: Name::default(), family: Family::V4 };
        let old: BTreeMap<Claim, Wish> = self
            .wishes
            .range(first..)
            .take_while(|(claim, _)| claim.entry == *entry)
            .map(|(claim, wish)| (claim.clone(), wish.clone()))
            .collect();
        let gone = old.iter().filter(|(claim, wish)| new.get(*claim) != Some(*wish)).map(|it| it.0.clone());
        let gone: Vec<Claim> = gone.collect();
        let come: Vec<(Claim, Wish)> =
            new.into_iter().filter(|(claim, wish)| old.get(claim) != Some(wish)).collect();
        self.change(gone, come)
    }

    /// The addresses of an entry's hosts, by host, IPv4 first.
    pub(crate) fn of(&self, entry: &ObjectRef) -> Vec<(Name, IpAddr)> {
        let first = Claim { entry: entry.clone(), host: Name::default(), family: Family::V4 };
        let own = self.places.range(first..).take_while(|(claim, _)| claim.entry == *entry);
        let given = own.filter(|(claim, _)| self.wishes.get(*claim).is_some_and(|it| !it.is_fixed));
        given.map(|(claim, (_, address))| (claim.host.clone(), *address)).collect()
    }

    fn change(&mut self, gone: Vec<Claim>, come: Vec<(Claim, Wish)>) -> BTreeSet<ObjectRef> {
        let mut touched: BTreeSet<ObjectRef> = gone.iter().map(|it| it.entry.clone()).collect();
        touched.extend(come.iter().map(|it| it.0.entry.clone()));
        let mut freed = Vec::new();
        for claim in &gone {
            self.wishes.remove(claim);
            freed.extend(self.forget(claim));
        }
        // Whoever was turned away from what is free now begins anew, and so do those whom that concerns.
        let mut again: BTreeSet<Claim> = BTreeSet::new();
        while let Some(address) = freed.pop() {
            for claim in self.turned_away.remove(&address).unwrap_or_default() {
                freed.extend(self.forget(&claim));
                again.insert(claim);
            }
        }
        again.extend(come.iter().map(|it| it.0.clone()));
        self.wishes.extend(come);
        for claim in again {
            touched.insert(claim.entry.clone());
            self.propose(claim, &mut touched);
        }
        touched
    }

    /// Takes a claim out of its place; what is free by that.
    fn forget(&mut self, claim: &Claim) -> Option<IpAddr> {
        for address in self.turned_from.remove(claim).unwrap_or_default() {
            if let Some(claims) = self.turned_away.get_mut(&address) {
                claims.remove(claim);
                if claims.is_empty() {
                    self.turned_away.remove(&address);
                }
            }
        }
        let (_, address) = self.places.remove(claim)?;
        self.held.remove(&address);
        Some(address)
    }

    /// Goes through the claim's list, and through those of whom it drives out.
    fn propose(&mut self, claim: Claim, touched: &mut BTreeSet<ObjectRef>) {
        let mut waiting = vec![(claim, 0)];
        while let Some((claim, from)) = waiting.pop() {
            let Some(wish) = self.wishes.get(&claim).cloned() else { continue };
            for step in from..TRIES {
                let Some(address) = candidate(&claim, &wish, step) else {
                    if wish.is_fixed { break } else { continue }
                };
                let loser = match self.held.get(&address) {
                    None => None,
                    Some(holder) if self.is_before(&claim, &wish, holder, address) => Some(holder.clone()),
                    Some(_) => {
                        self.turn_away(&claim, address);
                        continue;
                    }
                };
                if let Some(loser) = loser {
                    let (step, _) = self.places.remove(&loser).unwrap_or((0, address));
                    self.turn_away(&loser, address);
                    touched.insert(loser.entry.clone());
                    waiting.push((loser, step + 1));
                }
                self.held.insert(address, claim.clone());
                self.places.insert(claim.clone(), (step, address));
                break;
            }
        }
    }

    fn turn_away(&mut self, claim: &Claim, address: IpAddr) {
        if self.turned_away.entry(address).or_default().insert(claim.clone()) {
            self.turned_from.entry(claim.clone()).or_default().push(address);
        }
    }

    fn is_before(&self, claim: &Claim, wish: &Wish, holder: &Claim, address: IpAddr) -> bool {
        let rank = |wish: &Wish| (!wish.is_fixed, wish.first != Some(address), wish.created_s);
        self.wishes.get(holder).is_none_or(|held| (rank(wish), claim) < (rank(held), holder))
    }
}

fn claims(entry: &ObjectRef, wishes: Wishes) -> BTreeMap<Claim, Wish> {
    let mut all = BTreeMap::new();
    let created_s = wishes.created_s;
    for host in &wishes.hosts {
        for family in [Family::V4, Family::V6] {
            let mut given = wishes.given.iter().filter(|(of, it)| of == host && family.has(*it));
            let first = given.next().map(|it| it.1);
            let claim = Claim { entry: entry.clone(), host: host.clone(), family };
            all.insert(claim, Wish { created_s, first, is_fixed: false });
        }
    }
    for address in wishes.own {
        let Some(family) = [Family::V4, Family::V6].into_iter().find(|it| it.has(address)) else { continue };
        let claim = Claim { entry: entry.clone(), host: address.to_string().into(), family };
        all.insert(claim, Wish { created_s, first: Some(address), is_fixed: true });
    }
    all
}

/// The address that stands at this place of a claim's list; `None`: none does.
fn candidate(claim: &Claim, wish: &Wish, step: u64) -> Option<IpAddr> {
    if step == 0 || wish.is_fixed {
        return wish.first.filter(|_| step == 0);
    }
    let hash = hash(claim);
    // An odd stride comes to every address of a network whose size is a power of two.
    let place = hash.wrapping_add((step - 1).wrapping_mul((hash >> 32) | 1));
    claim.family.at(place)
}

/// FNV-1a of what the claim is called, stirred: the same in each version and on each machine.
fn hash(claim: &Claim) -> u64 {
    let parts = [&claim.entry.namespace[..], "/", &claim.entry.name[..], "/", &claim.host[..]];
    let bytes = parts.iter().flat_map(|part| part.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4, IpAddr::V4(address)) => matches!(address.octets(), [240, 240, ..]),
            (Self::V6, IpAddr::V6(address)) => matches!(address.segments(), [0x2001, 2, 0, ..]),
            (Self::V4, IpAddr::V6(_)) | (Self::V6, IpAddr::V4(_)) => false,
        }
    }

    /// IPv4 addresses that end in 0 or 255 are left out: some take them for a network or a broadcast.
    fn at(self, place: u64) -> Option<IpAddr> {
        match self {
            Self::V4 => {
                let [.., high, low] = place.to_be_bytes();
                (low != 0 && low != 255).then(|| Ipv4Addr::new(240, 240, high, low).into())
            }
            Self::V6 => {
                (place != 0).then(|| Ipv6Addr::from((0x2001_0002_u128 << 96) | u128::from(place)).into())
            }
        }
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
