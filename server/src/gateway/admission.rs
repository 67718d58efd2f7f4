//! Who may come in: sockets of one address, sockets that have not signed in, handshakes a second. Shared by all shards;
//! each question takes a lock for some hundred nanoseconds, so that refusing costs little.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;

use super::http_head::Refusal;
use crate::net::rate_key;
use crate::ratelimit::{Rate, Table};

/// Sockets of an address beyond its limit that are still told so; more are closed without a word.
const TOLD: usize = 64;
/// Addresses whose rates are remembered at once.
const RATES: usize = 100_000;

/// Bounds of coming in; 0 is off.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Sockets at once of one address (IPv6: of one /64); more get 429.
    pub per_address: usize,
    /// Sockets at once that have not signed in; more get 503.
    pub unauthenticated: usize,
    /// Handshakes a second, and as many at once; more get 503.
    pub handshakes_per_s: u32,
    /// Handshakes a minute of one address, and as many at once; more get 429.
    pub handshakes_per_address: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            per_address: 2_000,
            unauthenticated: 10_000,
            handshakes_per_s: 2_000,
            handshakes_per_address: 1_000,
        }
    }
}

/// Where a socket is counted: with its address, or (0) nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place(u32);

impl Place {
    /// Whether it is counted with an address.
    pub fn is_counted(self) -> bool {
        self.0 != 0
    }
}

/// A place that is given back when this is dropped.
pub struct Seat(pub Arc<Admission>, pub Place);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

#[derive(Default)]
struct Addresses {
    places: HashMap<IpAddr, u32>,
    counts: Slab<(IpAddr, usize)>,
}

/// What is counted of all sockets of this node.
pub struct Admission {
    bounds: Bounds,
    addresses: Mutex<Addresses>,
    unauthenticated: AtomicUsize,
    rates: Table<IpAddr>,
    /// When the bucket of all handshakes is full again, in microseconds.
    full_at_us: Mutex<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// Nobody is in.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            addresses: Mutex::default(),
            unauthenticated: AtomicUsize::new(0),
            rates: Table::new(RATES),
            full_at_us: Mutex::new(0),
        }
    }

    /// A socket of this address is there, until [`Admission::leave`]. `None`: so many are that it is not even told.
    pub fn enter(&self, address: IpAddr) -> Option<Place> {
        let most = self.bounds.per_address;
        let address = rate_key(address);
        let mut addresses = lock(&self.addresses);
        let Addresses { places, counts } = &mut *addresses;
        if let Some((_, count)) = places.get(&address).and_then(|place| counts.get_mut(*place as usize)) {
            if most > 0 && *count >= most.saturating_add(TOLD) {
                return None;
            }
            *count += 1;
            return places.get(&address).map(|place| Place(place + 1));
        }
        let place = u32::try_from(counts.insert((address, 1))).ok()?;
        places.insert(address, place);
        Some(Place(place + 1))
    }

    /// The socket is gone.
    pub fn leave(&self, place: Place) {
        let Some(at) = place.0.checked_sub(1).map(|at| at as usize) else { return };
        let mut addresses = lock(&self.addresses);
        let Some((address, count)) = addresses.counts.get_mut(at) else { return };
        *count -= 1;
        if *count == 0 {
            let address = *address;
            addresses.places.remove(&address);
            addresses.counts.remove(at);
        }
    }

    /// A socket that has to sign in is there, until [`Admission::known`].
    pub fn stranger(&self) {
        self.unauthenticated.fetch_add(1, Ordering::Relaxed);
    }

    /// It signed in, or is gone.
    pub fn known(&self) {
        self.unauthenticated.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sockets that have not signed in.
    pub fn strangers(&self) -> usize {
        self.unauthenticated.load(Ordering::Relaxed)
    }

    /// Whether a socket may become a WebSocket now. What is refused is not charged.
    pub fn handshake(&self, place: Place, now_us: u64) -> Result<(), Refusal> {
        let Bounds { per_address, unauthenticated, handshakes_per_s, handshakes_per_address } = self.bounds;
        let found =
            place.0.checked_sub(1).and_then(|at| lock(&self.addresses).counts.get(at as usize).copied());
        if per_address > 0 && found.is_some_and(|(_, count)| count > per_address) {
            return Err(Refusal::ADDRESS);
        }
        if unauthenticated > 0 && self.strangers() > unauthenticated {
            return Err(Refusal::STRANGERS);
        }
        // Of the two buckets the address's own first: whoever floods does not use up what is everybody's.
        if let (Some((address, _)), Some(rate)) = (found, Rate::per_minute(handshakes_per_address)) {
            let decision = self.rates.check(&address, rate, now_us, true);
            if !decision.allowed {
                return Err(Refusal { retry_after_s: decision.retry_after_s, ..Refusal::ADDRESS_HANDSHAKES });
            }
        }
        if let Some(rate) = Rate::per_second(handshakes_per_s) {
            let mut full_at = lock(&self.full_at_us);
            let (decision, next) = rate.decide(*full_at, now_us);
            *full_at = next;
            if !decision.allowed {
                return Err(Refusal::HANDSHAKES);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn off() -> Bounds {
        Bounds { per_address: 0, unauthenticated: 0, handshakes_per_s: 0, handshakes_per_address: 0 }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_sockets() {
        let admission = Admission::new(Bounds { per_address: 2, ..off() });
        let places: Vec<_> =
            ["2001:db8::1", "2001:db8::2"].map(|text| admission.enter(ip(text)).unwrap()).into();
        assert!(places.iter().all(|place| admission.handshake(*place, 1).is_ok()));
        let third = admission.enter(ip("2001:db8::ffff")).unwrap();
        assert_eq!(admission.handshake(third, 1).unwrap_err(), Refusal::ADDRESS, "one /64 is one customer");
        let other = admission.enter(ip("2001:db8:0:1::1")).unwrap();
        assert!(admission.handshake(other, 1).is_ok());
        admission.leave(places[0]);
        assert!(admission.handshake(third, 1).is_ok());
        let told = (0..100).filter_map(|_| admission.enter(ip("2001:db8::3"))).count();
        assert_eq!(told, TOLD, "beyond the limit, some are told and the rest is dropped");
    }

    #[test]
    fn an_address_has_so_many_handshakes_and_all_together() {
        let bounds = Bounds { handshakes_per_address: 60, handshakes_per_s: 100, ..off() };
        let admission = Admission::new(bounds);
        let place = |text: &str| admission.enter(ip(text)).unwrap();
        let count = |place, at_us| (0..1_000).filter(|_| admission.handshake(place, at_us).is_ok()).count();
        let (first, start) = (place("192.0.2.1"), 3_600_000_000);
        assert_eq!(count(first, start), 60, "a minute's worth");
        let refused = admission.handshake(first, start).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (429, 1));
        assert_eq!(count(place("192.0.2.2"), start), 40, "what is left of the second's worth of all");
        assert_eq!(admission.handshake(place("192.0.2.3"), start).unwrap_err(), Refusal::HANDSHAKES);
        assert_eq!(count(place("192.0.2.4"), start + 1_000_000), 60);
    }

    #[test]
    fn strangers_are_few() {
        let admission = Admission::new(Bounds { unauthenticated: 1, ..off() });
        let place = admission.enter(ip("192.0.2.1")).unwrap();
        admission.stranger();
        assert!(admission.handshake(place, 1).is_ok(), "it counts itself");
        admission.stranger();
        assert_eq!(admission.handshake(place, 1).unwrap_err(), Refusal::STRANGERS);
        admission.known();
        assert!(admission.handshake(place, 1).is_ok());
    }

    proptest! {
        /// Whatever comes and goes, what is counted is what is there, and nothing is kept of those who left.
        #[test]
        fn counts_are_exact(steps in proptest::collection::vec((0u8..6, any::<bool>()), 1..200)) {
            let admission = Admission::new(off());
            let mut there: Vec<(u8, Place)> = Vec::new();
            for (address, comes) in steps {
                if comes {
                    there.push((address, admission.enter(IpAddr::from([10, 0, 0, address])).unwrap()));
                } else if let Some(at) = there.iter().position(|(of, _)| *of == address) {
                    admission.leave(there.remove(at).1);
                }
                let addresses = lock(&admission.addresses);
                prop_assert_eq!(addresses.counts.iter().map(|(_, (_, count))| count).sum::<usize>(), there.len());
                for (of, place) in &there {
                    let (address, count) = addresses.counts[place.0 as usize - 1];
                    prop_assert_eq!(address, IpAddr::from([10, 0, 0, *of]));
                    prop_assert_eq!(count, there.iter().filter(|(other, _)| other == of).count());
                }
            }
            for (_, place) in there { admission.leave(place); }
            let addresses = lock(&admission.addresses);
            prop_assert!(addresses.counts.is_empty() && addresses.places.is_empty());
        }
    }
}
